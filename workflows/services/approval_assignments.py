"""Reassigned approvals and reminders: whom a run waits for, and who is notified.

An assignment gives no permission and takes none: it says who is expected to respond, and notifies
them. A reminder notifies the assignee, or else the members of the approvers' groups.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from django.contrib.auth.models import Group, User
from django.utils import timezone

from workflows.audit import audit_events
from workflows.execution import approval_changes
from workflows.models import (
    Approval,
    ApprovalAssignment,
    ApprovalReminder,
    EventKind,
    Status,
)
from workflows.services import approvals
from workflows.services.approval_errors import InvalidAssignee, RemindedAlready

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

REMIND_EVERY: Final = dt.timedelta(hours=1)
MAX_CHECKED: Final = 200  # members of a group
MAX_NAME_SHOWN: Final = 80  # characters


def assignment_of(approval: Approval) -> ApprovalAssignment | None:
    """Return the assignment of an approval, None without one."""
    found: ApprovalAssignment | None = getattr(approval, "assignment", None)
    return found


def reassign(
    approval: Approval, to: User | Group, *, by: AbstractBaseUser, reason: str
) -> ApprovalAssignment:
    """Assign an approval to a person or group of `find_assignee`; notify them.

    It replaces an earlier assignment, and the claim of anyone else. Call it with the run's row
    locked. Raises InvalidAssignee for a person who has voted meanwhile.
    """
    person = to if isinstance(to, User) else None
    if person is not None and approvals.refusal(approval, person.pk):
        raise _cannot_respond(person)
    return approval_changes.assign(
        *(approval, person or str(to)),
        action="reassign approval",
        kind=EventKind.APPROVAL_REASSIGNED,
        by=by,
        reason=reason,
    )


def find_assignee(approval: Approval, to: str) -> User | Group:
    """Return the person, else the group with this name, which can respond to an approval.

    Reads the permissions of up to MAX_CHECKED members: call it before the run is locked.
    Raises InvalidAssignee.
    """
    to = to.strip()
    person = User.objects.filter(username=to, is_active=True).first()
    if person is not None:
        if not approvals.may_respond(approval, person):
            raise _cannot_respond(person)
        return person
    group = Group.objects.filter(name=to).first()
    if group is None:
        shown = to[:MAX_NAME_SHOWN]
        raise _invalid(f"There is no person or group “{shown}”.")
    members = approvals.named_by(approval, group.user_set.filter(is_active=True))
    checked = members.order_by("pk")[:MAX_CHECKED]
    if not any(approvals.may_respond(approval, one) for one in checked):
        is_cut = len(checked) == MAX_CHECKED
        none = f"None of the first {MAX_CHECKED} members" if is_cut else "No member"
        raise _invalid(f"{none} of {to} can respond to this approval.")
    return group


def _cannot_respond(person: User) -> InvalidAssignee:
    return _invalid(f"{person.username} can’t respond to this approval.")


def _invalid(text: str) -> InvalidAssignee:
    return InvalidAssignee({"to": [text]})


def remind(approval: Approval, *, by: AbstractBaseUser) -> None:
    """Notify the assignee or the approvers again, with the run's row locked.

    Raises RemindedAlready within REMIND_EVERY.
    """
    now = timezone.now()
    last = ApprovalReminder.objects.filter(approval=approval).first()
    if last is not None and last.created_at > now - REMIND_EVERY:
        minutes = -(-(last.created_at + REMIND_EVERY - now).total_seconds() // 60)
        raise RemindedAlready(
            f"{last.person_name} sent a reminder already. The next one can be sent in"
            f" {minutes:.0f} minute{'' if minutes == 1 else 's'}."
        )
    ApprovalReminder.objects.update_or_create(
        approval=approval,
        defaults={"person_name": by.get_username(), "created_at": now},
    )
    found = assignment_of(approval)
    audit_events.record(
        approval.run,
        "remind approvers",
        by=by,
        after=Status.WAITING,
        changed=({}, {"step": approval.sequence, "to": found.name if found else None}),
    )
    approval_changes.write_event(EventKind.APPROVAL_REMINDED, approval, found)
