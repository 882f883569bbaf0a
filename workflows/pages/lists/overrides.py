"""Counts of overrides by workflow, edge and person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import User

    from workflows.pages.lists.decision_filters import DecisionFilters

MAX_ROWS: Final = 50  # the most frequent


@dataclass(frozen=True, slots=True)
class OverrideCount:
    """How often a person took an edge against the decision of a run."""

    workflow: str
    source: str
    target: str
    person: str  # "" if the account was deleted
    count: int


def count_overrides(filters: DecisionFilters, person: User) -> Sequence[OverrideCount]:
    """Return the counts of the overrides that match, the most frequent first.

    Empty unless the filters select overrides, which have an index of their own.
    """
    if filters.outcome != "override" or filters.error:
        return []
    names = ("workflow_name", "from_node", "to_node", "decided_by__username")
    rows = filters.rows(person).filter(filters.of_edge(), filters.condition_on_values)
    counted = (
        rows.select_related(None)
        .order_by()
        .values_list(*names)
        .annotate(count=Count("pk"))
        .order_by("-count", *names)
    )
    return [
        OverrideCount(workflow, source, target, who or "", count)
        for workflow, source, target, who, count in counted[:MAX_ROWS]
    ]
