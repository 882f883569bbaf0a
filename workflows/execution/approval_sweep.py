"""Changes of open approvals that time or changed permissions bring about, made by any worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeAlias

from django.db import transaction
from django.db.models import Q

from workflows.access import permissions
from workflows.access.permissions import is_for
from workflows.infra import clock
from workflows.models import ApprovalAssignment, ApprovalClaim, ApprovalStatus, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from django.contrib.auth.models import User

Work: TypeAlias = ApprovalClaim | ApprovalAssignment

CHECK_SECONDS: Final = 30.0  # between two checks of permissions by a process


class _LastCheck:
    at = float("-inf")  # on the monotonic clock


_last_check = _LastCheck()


def sweep() -> Iterator[UUID]:
    """Yield the runs of which pages have to show something else."""
    now = clock.now()
    ended = Q(expires_at__lte=now) | ~Q(approval__status=ApprovalStatus.OPEN)
    expired = ApprovalClaim.objects.filter(ended)
    yield from _delete(ApprovalClaim, expired.values_list("pk", flat=True))
    if time.monotonic() - _last_check.at >= CHECK_SECONDS:
        _last_check.at = time.monotonic()
        for kind in (ApprovalClaim, ApprovalAssignment):
            yield from _delete(kind, lost(kind))


def lost(kind: type[Work]) -> list[int]:
    """Return the claims or assignments of persons who may not respond any more."""
    rows = kind.objects.filter(approval__status=ApprovalStatus.OPEN)
    rows = rows.exclude(person=None).select_related("person", "approval__run")
    people: dict[int, User] = {}  # permissions are cached on the user object
    return [
        row.pk
        for row in rows.order_by("pk")
        if row.person is not None
        and not _may_respond(row, people.setdefault(row.person.pk, row.person))
    ]


def _may_respond(row: Work, person: User) -> bool:
    groups = permissions.permissions_for(person).groups
    return permissions.can_approve_run(person, row.approval.run) and is_for(
        row.approval.groups, groups
    )


def _delete(kind: type[Work], ids: Iterable[int]) -> Iterator[UUID]:
    """Delete claims or assignments, yield their runs that still wait."""
    for pk in list(ids):
        with transaction.atomic():
            row = kind.objects.filter(pk=pk).select_related("approval").first()
            if row is None:
                continue  # another worker deleted it
            kind.objects.filter(pk=pk).delete()
            is_shown = Run.objects.filter(pk=row.approval.run_id).touch()
        if is_shown:
            yield row.approval.run_id
