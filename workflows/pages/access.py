"""Access to pages: sign-in, and the viewer's permissions on a run."""

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
    """Redirect users who are not signed in to the sign-in page, and back afterwards."""
    return login_required(view)


@dataclass(frozen=True, slots=True)
class RunPermissions:
    """The viewer's permissions on a run, the key by which its rendered pages are cached."""

    read: bool = False  # view the data of the run, not only steps and times
    launch: bool = False
    operate: bool = False
    approve: bool = False
    note: bool = False
    trace: bool = False  # view tracebacks
    granted: Permissions = NOTHING  # on everything else

    @property
    def workers(self) -> bool:
        """Return whether the viewer may see the workers and the queue."""
        return self.granted.workers

    @property
    def for_timeline(self) -> RunPermissions:
        """Return the permissions that affect the timeline, as its cache key."""
        return RunPermissions(read=self.read)


def run_permissions(person: Person, run: Run) -> RunPermissions:
    """Return the permissions of a user on a run."""
    granted, name = permissions.permissions_for(person), run.workflow_name
    return RunPermissions(
        read=name in granted.read,
        launch=name in granted.launch,
        operate=name in granted.operate,
        approve=permissions.can_approve_run(person, run),
        note=granted.can_note(name),
        trace=bool(getattr(person, "is_staff", False)) and name in granted.read,
        granted=granted,
    )
