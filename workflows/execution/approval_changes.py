"""What changes with an open approval besides its response, in the transaction of the change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from workflows.audit import audit_events
from workflows.infra import notifications
from workflows.models import (
    ApprovalAssignment,
    ApprovalClaim,
    OutboxEvent,
    Run,
    Status,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from django.contrib.auth.models import AbstractBaseUser, User

    from workflows.models import Approval, EventKind


def assign(  # noqa: PLR0913 - columns of the row, and of its events
    approval: Approval,
    to: User | str,
    *,
    action: str,
    kind: EventKind,
    by: AbstractBaseUser | None,
    reason: str,
    at: dt.datetime | None = None,
) -> ApprovalAssignment:
    """Assign an approval to a person, or to the group of this name; notify them.

    It replaces an earlier assignment and ends the claims of others. Call it with the run's row
    locked.
    """
    name, person = (to, None) if isinstance(to, str) else (to.username, to)
    before = ApprovalAssignment.objects.filter(approval=approval).first()
    found, _ = ApprovalAssignment.objects.update_or_create(
        approval=approval,
        defaults={
            "person": person,
            "name": name,
            "assigned_by_name": by.get_username() if by else "system",
            "reason": reason,
            "created_at": at or timezone.now(),
        },
    )
    claims = ApprovalClaim.objects.filter(approval=approval)
    (claims.exclude(person=person) if person else claims).delete()
    record_change(
        *(approval, action),
        by=by,
        before=before.name if before else None,
        after=name,
        reason=reason,
    )
    write_event(kind, approval, found)
    return found


def record_change(  # noqa: PLR0913 - fields of an event
    approval: Approval,
    action: str,
    *,
    by: AbstractBaseUser | None,
    before: str | None,
    after: str | None,
    reason: str = "",
) -> None:
    """Append the audit event of a change of who works on an approval; update open pages."""
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] = (
        {"step": approval.sequence, "person": before},
        {"step": approval.sequence, "person": after},
    )
    audit_events.record(
        approval.run,
        action,
        by=by,
        reason=reason,
        after=Status.WAITING,
        changed=changed,
    )
    Run.objects.filter(pk=approval.run_id).touch()
    notifications.changed_on_commit(approval.run_id)


def write_event(
    kind: EventKind, approval: Approval, to: ApprovalAssignment | None
) -> None:
    """Write an event that is addressed to people, whether they follow approvals or not."""
    facts: dict[str, Any] = {
        "approval": approval.pk,
        "node": approval.node_name,
        "sequence": approval.sequence,
        "person": to.person_id if to else None,
        "group": to.name if to and to.person_id is None else "",
    }
    OutboxEvent.objects.create(
        kind=kind,
        workflow_name=approval.run.workflow_name,
        run_id=approval.run_id,
        facts=facts,
    )
