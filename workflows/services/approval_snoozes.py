"""Snoozed approvals: a person hides one from their own lists until a time."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from workflows.audit import audit_events
from workflows.infra import notifications
from workflows.models import Approval, ApprovalSnooze, Status
from workflows.models.approvals import URGENT
from workflows.services.approval_errors import InvalidSnooze

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

MAX_SNOOZE: Final = dt.timedelta(days=366)
CACHE_ATTRIBUTE: Final = "_signalbox_snoozed"  # of the user object


def snooze(
    approval: Approval, until: dt.datetime | None, *, by: AbstractBaseUser
) -> dt.datetime | None:
    """Hide an approval from a person's lists until a time; None shows it again.

    An approval that expires is shown again URGENT before that. Returns the time. Raises
    InvalidSnooze.
    """
    mine = ApprovalSnooze.objects.filter(approval=approval, person_id=by.pk)
    if until is None:
        mine.delete()
    else:
        until = _checked(approval, until)
        ApprovalSnooze.objects.update_or_create(
            approval=approval, person_id=by.pk, defaults={"until": until}
        )
    notifications.person_changed_on_commit(by.pk)
    shown = until.isoformat() if until else None
    audit_events.record(
        approval.run,
        "snooze approval",
        by=by,
        after=Status.WAITING,
        changed=({}, {"step": approval.sequence, "until": shown}),
    )
    return until


def _checked(approval: Approval, until: dt.datetime) -> dt.datetime:
    now = timezone.now()
    if not now < until <= now + MAX_SNOOZE:
        raise InvalidSnooze({"until": ["Choose a time within the next year."]})
    if approval.expires_at is None:
        return until
    latest = approval.expires_at - URGENT
    if latest <= now:
        hours = URGENT.total_seconds() / 3600
        text = f"It expires within {hours:.0f} hours, so that it can’t be hidden."
        raise InvalidSnooze({"until": [text]})
    return min(until, latest)


def snoozed_by(person: Any) -> tuple[int, ...]:
    """Return the approvals that a person has hidden now; read once per user object."""
    found: tuple[int, ...] | None = getattr(person, CACHE_ATTRIBUTE, None)
    if found is None:
        rows = ApprovalSnooze.objects.filter(person=person.pk, until__gt=timezone.now())
        found = tuple(rows.order_by("approval").values_list("approval", flat=True))
        setattr(person, CACHE_ATTRIBUTE, found)
    return found
