"""Escalations: an approval without a response goes to the group that its workflow declares.

The members of the group are notified, and may respond from then on: it is added to the
approvers. Everyone else may still respond. A claim or a reassignment does not stop it; both end
with it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db import transaction

from workflows.execution import approval_changes
from workflows.infra import clock
from workflows.models import (
    Approval,
    ApprovalEscalation,
    ApprovalStatus,
    EventKind,
    Run,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)

MAX_ROWS = 500  # of one sweep


def declare(approval: Approval, at: dt.datetime, to: str) -> None:
    """Store when a new approval goes to which group."""
    ApprovalEscalation.objects.create(approval=approval, to=to, due_at=at)


def escalation_of(approval: Approval) -> ApprovalEscalation | None:
    """Return where an approval goes or went, None if it goes to no one.

    A closed approval that did not go there never will, before its row is deleted as well.
    """
    found: ApprovalEscalation | None = getattr(approval, "escalation", None)
    is_open = approval.status == ApprovalStatus.OPEN
    return found if found and (is_open or found.escalated_at) else None


def escalate_due() -> Iterator[UUID]:
    """Escalate the approvals whose time has come; yield their runs, after the commit of each."""
    due = ApprovalEscalation.objects.filter(escalated_at=None, due_at__lte=clock.now())
    rows = due.select_related("approval").order_by("due_at")
    found = list(rows.only("approval__run_id", "approval__status")[:MAX_ROWS])
    closed = [row.pk for row in found if row.approval.status != ApprovalStatus.OPEN]
    if closed:  # nobody has to respond any more
        ended = ApprovalEscalation.objects.filter(pk__in=closed, escalated_at=None)
        ended.exclude(approval__status=ApprovalStatus.OPEN).delete()
    for row in found:
        if row.pk in closed:
            continue
        run_id = row.approval.run_id
        with transaction.atomic():
            Run.objects.filter(pk=run_id).lock()
            is_mine = _take(row.approval_id)
        if is_mine:
            yield run_id


def _take(approval_id: int) -> bool:
    """Escalate an approval that is open and due, with its run locked."""
    rows = Approval.objects.open().filter(
        pk=approval_id,
        escalation__escalated_at=None,
        escalation__due_at__lte=clock.now(),
    )
    approval = rows.select_related("run", "escalation").first()
    return approval is not None and escalate(approval, by=None) is not None


def escalate(
    approval: Approval, *, by: AbstractBaseUser | None, reason: str = ""
) -> ApprovalEscalation | None:
    """Let an open approval go to its group, with the run's row locked.

    `by` is None when its time has come. Returns None if it declares no escalation, or went
    there before.
    """
    now = clock.now()
    rows = ApprovalEscalation.objects.filter(approval=approval)
    by_name = by.get_username() if by else ""
    if not rows.filter(escalated_at=None).update(escalated_at=now, by_name=by_name):
        return None
    escalation = rows.get()
    to = escalation.to
    if approval.groups and to not in approval.groups:
        approval.groups = [*approval.groups, to]
        Approval.objects.filter(pk=approval.pk).update(groups=approval.groups)
    reason = reason or ("" if by else "No response in time.")
    if not User.objects.filter(groups__name=to, is_active=True).exists():
        # it is escalated all the same: members who are added later find it in their list
        reason = f"{reason} {to} has no active member.".strip()
        logger.warning(
            "The approval of run %s goes to %s, which has no active member.",
            *(approval.run_id, to),
        )
    approval_changes.assign(
        *(approval, to),
        action="escalate approval",
        kind=EventKind.APPROVAL_ESCALATED,
        by=by,
        reason=reason,
        at=now,
    )
    return escalation
