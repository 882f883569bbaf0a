"""The questions that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.answering import is_for
from workflows.models import Approval, ApprovalStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflows.access import Names, Sight

MOST = 500  # open questions that are looked at
WORKFLOW = "run__workflow_name"
UNUSED = ("run__result", "run__graph", "run__secrets", "evidence", "form")


def list_open(sight: Sight) -> list[Approval]:
    """Return the questions that someone with these rights may answer, oldest first."""
    waiting = Approval.objects.open().select_related("run", "run__launched_by")
    if not _mine(sight).are_all:
        waiting = waiting.filter(_mine(sight).q(WORKFLOW))
    rows = waiting.defer(*UNUSED).order_by("id")[:MOST]
    return [row for row in rows if is_for(row.groups, sight.groups)]


def count_open(sight: Sight) -> int:
    """Return how many questions wait for someone with these rights."""
    waiting = Approval.objects.open()
    if not _mine(sight).are_all:
        waiting = waiting.filter(_mine(sight).q(WORKFLOW))
    asked = waiting.values_list("groups", flat=True)[:MOST]
    return sum(is_for(groups, sight.groups) for groups in asked)


def _mine(sight: Sight) -> Names:
    """Return the workflows whose questions they may answer, and be shown."""
    return sight.approve & sight.read


def list_answered(sight: Sight, count: int) -> list[Approval]:
    """Return the questions that were closed last, newest first."""
    closed = Approval.objects.exclude(status=ApprovalStatus.OPEN).select_related(
        "run", "answered_by"
    )
    if not sight.read.are_all:
        closed = closed.filter(sight.read.q(WORKFLOW))
    return list(closed.defer(*UNUSED).order_by("-answered_at")[:count])


def by_group(approvals: Iterable[Approval]) -> list[tuple[str, list[Approval]]]:
    """Return the questions by who may answer them; those for anyone come first."""
    found: dict[str, list[Approval]] = {}
    for approval in approvals:
        name = " or ".join(sorted(map(str, approval.groups)))
        found.setdefault(name, []).append(approval)
    return sorted(found.items())


def most_urgent(approvals: Iterable[Approval]) -> list[Approval]:
    """Return the questions by when they expire; those that never do, oldest first, last."""
    return sorted(
        approvals,
        key=lambda one: (one.expires_at is None, one.expires_at or one.created_at),
    )
