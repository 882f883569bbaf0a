"""Golden runs with their last results by profile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from workflows.access import permissions
from workflows.models import GoldenOutcome, GoldenResult, GoldenRun
from workflows.services.golden_comparison import Difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import User

MAX_GOLDEN_RUNS: Final = 500  # that are shown


@dataclass(slots=True)
class GoldenRow:
    """A golden run with its last results."""

    golden: GoldenRun
    results: list[tuple[GoldenResult, list[Difference]]] = field(default_factory=list)
    is_readable: bool = False


def golden_rows(person: User, workflow: str = "") -> Sequence[GoldenRow]:
    """Return the golden runs that a person may see, with what differed by profile."""
    rows = GoldenRun.objects.select_related("run").defer("run__result", "run__graph")
    if workflow:
        rows = rows.filter(workflow_name=workflow)
    ordered = rows.order_by("workflow_name", "dataset", "run_id")
    visible = permissions.visible(person, ordered)[:MAX_GOLDEN_RUNS]
    found = {row.pk: GoldenRow(row) for row in visible}
    results = GoldenResult.objects.filter(golden__in=found).order_by(
        "profile_name", "answers"
    )
    for one in found.values():
        one.is_readable = permissions.can_read(person, one.golden.workflow_name)
    for result in results:
        row = found[result.golden_id]
        known = [Difference.of_json(one) for one in result.differences]
        row.results.append((result, known if row.is_readable else []))
        if not row.is_readable:
            result.message = ""
    return list(found.values())


def results_by_profile(workflow: str) -> dict[str, Counter[str]]:
    """Return how many golden runs of a workflow had each outcome, by profile."""
    counts: dict[str, Counter[str]] = {}
    rows = GoldenResult.objects.filter(golden__workflow_name=workflow)
    for profile, outcome in rows.values_list("profile_name", "outcome"):
        counts.setdefault(profile, Counter())[outcome] += 1
    return counts


def summary_of(counts: Counter[str] | None) -> str:
    """Return the share of golden runs that were repeated, such as "7 of 8 same"."""
    if not counts:
        return ""
    return f"{counts[GoldenOutcome.SAME]} of {counts.total()} same"
