"""Actions that a run permits, and those offered to a person.

Run pages, bulk operations and admin use the same conditions. System checks again when the
action is executed, since the run may have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workflows.models import RESUMABLE, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workflows.access.permissions import Permissions
    from workflows.models import Run

POSSIBLE: Final[Mapping[str, Callable[[Run], bool]]] = {
    "cancel": lambda run: run.is_cancellable,
    "resume": lambda run: run.is_resumable,
    "rerun": lambda run: run.payload_removed_at is None,  # in any status
    "rerun-failed": lambda run: (
        run.status in RESUMABLE and run.payload_removed_at is None
    ),
    "release": lambda run: run.status == Status.RUNNING,
    "pin": lambda run: not run.is_pinned,
    "unpin": lambda run: run.is_pinned,
    "label": lambda _run: True,
    "unlabel": lambda _run: True,
    "delete": lambda run: run.is_ended,
}
LAUNCHING: Final = ("rerun", "rerun-failed")  # need the permission to launch
NEEDED: Final = (
    "status",
    "is_pinned",
    "cancel_requested_at",
    "payload_removed_at",
    "closing",
    "steps_to_undo",
    "deadline_at",
)
"""Columns of a run that the conditions read."""


def possible(run: Run, action: str) -> bool:
    """Return whether the state of a run permits an action."""
    return POSSIBLE[action](run)


def offered(run: Run, granted: Permissions) -> frozenset[str]:
    """Return the actions that a run permits and the viewer has permission for."""
    name = run.workflow_name
    can_operate, can_launch = name in granted.operate, name in granted.launch
    return frozenset(
        action
        for action in POSSIBLE
        if (can_launch if action in LAUNCHING else can_operate)
        and possible(run, action)
    )
