"""Changes of open approvals that time or changed permissions bring about, made by any worker."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, TypeAlias

from django.db import transaction
from django.db.models import Q

from workflows.access import permissions
from workflows.execution import approval_escalations
from workflows.infra import clock
from workflows.models import (
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalStatus,
    Run,
    Tally,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User

ClaimOrAssignment: TypeAlias = ApprovalClaim | ApprovalAssignment

NAME: Final = "approvers"  # of the row with the due time of the check of permissions
CHECK_EVERY: Final = dt.timedelta(seconds=30)  # by one process at a time
MAX_ROWS: Final = 500  # of one turn
KINDS: Final[tuple[type[ClaimOrAssignment], ...]] = (ApprovalClaim, ApprovalAssignment)
# what the check of permissions reads: rows of runs and approvals are large
READ: Final = (
    *("person", "created_at", "person__is_active", "person__is_superuser"),
    *("approval", "approval__groups", "approval__run", "approval__run__workflow_name"),
)


def sweep() -> Iterator[UUID]:
    """Yield the runs of which pages have to show something else."""
    yield from approval_escalations.escalate_due()
    ended = Q(expires_at__lte=clock.now()) | ~Q(approval__status=ApprovalStatus.OPEN)
    expired = ApprovalClaim.objects.filter(ended).select_related("approval")
    for claim in expired.only("approval", "approval__run").order_by("pk")[:MAX_ROWS]:
        yield from _delete(claim, ended)
    for row in _without_permission_if_due():
        # not a later one of the approval, which has the same key
        yield from _delete(row, Q(person=row.person_id, created_at=row.created_at))


def _without_permission_if_due() -> list[ClaimOrAssignment]:
    """Check the next MAX_ROWS of each kind, unless another process does or did just now."""
    now = clock.now()
    turn, _ = Tally.objects.get_or_create(name=NAME, defaults={"next_at": now})
    mine = Tally.objects.filter(pk=NAME, next_at=turn.next_at)
    if turn.next_at > now or not mine.update(next_at=now + CHECK_EVERY):
        return []
    found, ends = [], []
    checked_until = turn.newest_rows.split() or ["0"] * len(KINDS)
    for kind, after in zip(KINDS, checked_until, strict=True):
        rows = _rows_after(kind, int(after))
        found += without_permission(rows)
        ends.append(str(rows[-1].pk if len(rows) == MAX_ROWS else 0))
    Tally.objects.filter(pk=NAME).update(newest_rows=" ".join(ends))
    return found


def _rows_after(
    kind: type[ClaimOrAssignment], after: int = 0
) -> Sequence[ClaimOrAssignment]:
    rows = kind.objects.filter(approval__status=ApprovalStatus.OPEN, pk__gt=after)
    rows = rows.exclude(person=None).select_related("person", "approval__run")
    return list(rows.only(*READ).order_by("pk")[:MAX_ROWS])


def without_permission(rows: Sequence[ClaimOrAssignment]) -> list[ClaimOrAssignment]:
    """Return the claims or assignments of persons who may not respond any more."""
    people: dict[int, User] = {}  # permissions are cached on the user object
    return [
        row
        for row in rows
        if row.person is not None
        and not permissions.is_approver(
            permissions.permissions_for(people.setdefault(row.person.pk, row.person)),
            row.approval,
        )
    ]


def _delete(listed: ClaimOrAssignment, condition: Q) -> Iterator[UUID]:
    """Delete a claim or assignment if the condition still holds; yield its run if it waits."""
    run_id = listed.approval.run_id
    with transaction.atomic():
        Run.objects.filter(pk=run_id).lock()
        # read again, since another person may have claimed it meanwhile
        row = type(listed).objects.filter(condition, pk=listed.pk).first()
        if row is None:
            return
        row.delete()
        is_shown = Run.objects.filter(pk=run_id).touch()
    if is_shown:
        yield run_id
