"""What pages ask of a request before anything else, and what a run's viewer may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_required

from workflows.access import permissions
from workflows.access.permissions import NOTHING, Permissions

if TYPE_CHECKING:
    from workflows.access.permissions import Person
    from workflows.models import Run

View = Callable[..., Any]


def members_only(view: View) -> View:
    """Send whoever is not signed in to the sign-in page, and back afterwards."""
    return login_required(view)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the viewer of a run may do: pages of the same rights are drawn once."""

    read: bool = False  # what the run is about, beside its shape and times
    launch: bool = False
    operate: bool = False
    approve: bool = False
    note: bool = False
    trace: bool = False  # may read where in the code it failed
    sight: Permissions = (
        NOTHING  # all that the viewer may, for what stands beside the run
    )

    @property
    def workers(self) -> bool:
        """Tell whether the viewer may see the workers and the queue."""
        return self.sight.workers

    @property
    def of_the_story(self) -> Rights:
        """The part of it that decides how the way of the run is drawn."""
        return Rights(read=self.read)


def rights(person: Person, run: Run) -> Rights:
    """Return what a person may do with a run."""
    sight, name = permissions.permissions_for(person), run.workflow_name
    return Rights(
        read=name in sight.read,
        launch=name in sight.launch,
        operate=name in sight.operate,
        approve=permissions.may_approve_run(person, run),
        note=sight.may_note(name),
        trace=bool(getattr(person, "is_staff", False)) and name in sight.read,
        sight=sight,
    )
