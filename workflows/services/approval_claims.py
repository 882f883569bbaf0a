"""Claims of approvals: who works on one, so that others choose another one.

A claim is information: every approver may respond to a claimed approval. It ends with a release,
after APPROVAL_CLAIM_HOURS, and when its person may not respond any more.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from workflows.execution.approval_changes import record_change
from workflows.models import Approval, ApprovalAssignment, ApprovalClaim
from workflows.services import approvals
from workflows.services.approval_errors import AlreadyClaimed, NotClaimed

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


def claim_of(approval: Approval) -> ApprovalClaim | None:
    """Return the current claim of an open approval, None without one."""
    found: ApprovalClaim | None = getattr(approval, "claim", None)
    return found if found is not None and found.is_current else None


def claim(approval: Approval, *, by: AbstractBaseUser) -> ApprovalClaim:
    """Claim an approval, with the run's row locked; a second claim of a person renews it.

    Raises AlreadyClaimed.
    """
    found = _stored(approval)
    if found is not None and found.person_id != by.pk and _holds(found, approval):
        raise AlreadyClaimed(f"{found.person_name} is working on it.")
    before = found.person_name if found is not None else None
    now = timezone.now()
    claimed, _ = ApprovalClaim.objects.update_or_create(
        approval=approval,
        defaults={
            "person_id": by.pk,
            "person_name": by.get_username(),
            "created_at": now,
            "expires_at": now + dt.timedelta(hours=settings.APPROVAL_CLAIM_HOURS),
        },
    )
    record_change(
        approval, "claim approval", by=by, before=before, after=by.get_username()
    )
    return claimed


def release(approval: Approval, *, by: AbstractBaseUser) -> None:
    """End claim and assignment of an approval, with the run's row locked. Raises NotClaimed."""
    found = _stored(approval)
    current = found if found is not None and found.is_current else None
    assigned = ApprovalAssignment.objects.filter(approval=approval).first()
    if current is None and assigned is None:
        raise NotClaimed("No one is working on this approval.")
    names = [str(one) for one in (current, assigned) if one is not None]
    for one in (found, assigned):
        if one is not None:
            one.delete()
    before = ", ".join(dict.fromkeys(names))
    record_change(approval, "release approval", by=by, before=before, after=None)


def _stored(approval: Approval) -> ApprovalClaim | None:
    rows = ApprovalClaim.objects.filter(approval=approval)
    return rows.select_related("person").first()


def _holds(found: ApprovalClaim, approval: Approval) -> bool:
    """Return whether a claim has not expired, and its person may still respond."""
    return found.is_current and approvals.may_respond(approval, found.person)
