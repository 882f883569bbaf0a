"""The questions that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.models import Approval, ApprovalStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

MOST = 500  # open questions that are looked at


def groups_of(person: AbstractBaseUser | AnonymousUser) -> frozenset[str] | None:
    """Return the names of a person's groups; None for one who may answer everything."""
    if getattr(person, "is_superuser", False):
        return None
    groups = getattr(person, "groups", None)
    return frozenset(groups.values_list("name", flat=True)) if groups else frozenset()


def is_for(approval: Approval, groups: frozenset[str] | None) -> bool:
    """Tell whether someone with these groups may answer."""
    return (
        groups is None or not approval.groups or not groups.isdisjoint(approval.groups)
    )


def list_open(groups: frozenset[str] | None) -> list[Approval]:
    """Return the questions for someone with these groups, oldest first."""
    waiting = Approval.objects.open().select_related("run", "run__launched_by")
    waiting = waiting.defer(
        "run__result", "run__graph", "run__secrets", "evidence", "form"
    )
    return [row for row in waiting.order_by("id")[:MOST] if is_for(row, groups)]


def count_open(person: AbstractBaseUser) -> int:
    """Return how many questions wait for this person."""
    wanted = _wanted()
    return count_for(groups_of(person), wanted) if any(wanted) else len(wanted)


def count_for(
    groups: frozenset[str] | None, wanted: list[list[str]] | None = None
) -> int:
    """Return how many questions wait for someone with these groups."""
    wanted = _wanted() if wanted is None else wanted
    return sum(groups is None or not g or not groups.isdisjoint(g) for g in wanted)


def _wanted() -> list[list[str]]:
    """Return the groups of each open question."""
    return list(Approval.objects.open().values_list("groups", flat=True)[:MOST])


def list_answered(count: int) -> list[Approval]:
    """Return the questions that were closed last, newest first."""
    closed = Approval.objects.exclude(status=ApprovalStatus.OPEN).select_related(
        "run", "answered_by"
    )
    closed = closed.defer(
        "run__result", "run__graph", "run__secrets", "evidence", "form"
    )
    return list(closed.order_by("-answered_at")[:count])


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
