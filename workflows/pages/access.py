"""Access to pages: sign-in, and the viewer's permissions on a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_required

from workflows.access import permissions
from workflows.access.permissions import NOTHING, Permissions
from workflows.errors import WorkflowNotFound
from workflows.pages.lists.open_approvals import are_personal
from workflows.registry import registry
from workflows.services.approval_snoozes import snoozed_by

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
    # the viewer, where it depends on the person who may respond to approvals of the run,
    # and where it depends on the person how many approvals are open
    respondent_id: int | None = None
    inbox_of: int | None = None
    snoozed: tuple[int, ...] = ()  # the approvals that the viewer has hidden

    @property
    def workers(self) -> bool:
        """Return whether the viewer may see the workers and the queue."""
        return self.granted.workers

    @property
    def for_timeline(self) -> RunPermissions:
        """Return the permissions that affect steps and graph, as their cache key."""
        return RunPermissions(
            read=self.read,
            launch=self.launch,
            operate=self.operate,
            approve=self.approve,
            note=self.note,
        )

    @property
    def for_log(self) -> RunPermissions:
        """Return the permissions that affect the log, as its cache key."""
        return RunPermissions(read=self.read)

    @property
    def for_frame(self) -> RunPermissions:
        """Return the permissions that affect status, notice and approval."""
        return replace(self, inbox_of=None, snoozed=())

    @property
    def for_navigation(self) -> RunPermissions:
        """Return the permissions that affect the number of open approvals."""
        return RunPermissions(
            granted=self.granted, inbox_of=self.inbox_of, snoozed=self.snoozed
        )


def run_permissions(person: Person, run: Run) -> RunPermissions:
    """Return the permissions of a user on a run."""
    granted, name = permissions.permissions_for(person), run.workflow_name
    approve = permissions.can_approve_run(person, run)
    is_personal = approve and has_personal_approvals(name)
    snoozed = snoozed_by(person) if approve else ()
    return RunPermissions(
        read=name in granted.read,
        launch=name in granted.launch,
        operate=name in granted.operate,
        approve=approve,
        note=granted.can_note(name),
        trace=bool(getattr(person, "is_staff", False)) and name in granted.read,
        granted=granted,
        respondent_id=person.pk if is_personal else None,
        inbox_of=person.pk if are_personal(granted) else None,
        snoozed=snoozed,
    )


def has_personal_approvals(name: str) -> bool:
    """Return whether it depends on the person who may respond; True if it is unknown."""
    try:
        return registry.get(name).has_personal_approvals
    except WorkflowNotFound:
        return True
