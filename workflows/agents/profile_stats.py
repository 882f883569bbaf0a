"""Comparison of a workflow's profiles: results and usage of their runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F

from workflows.agents import usage
from workflows.models import AgentCall, Decision, Run, Status
from workflows.models.status import success_rate

if TYPE_CHECKING:
    import datetime as dt
    from decimal import Decimal

    from workflows.agents.usage import Usage

LASTED = ExpressionWrapper(
    F("completed_at") - F("started_at"), output_field=DurationField()
)


@dataclass(slots=True)
class ProfileStats:
    """Statistics of the runs of one profile."""

    name: str  # "": the workflow's defaults
    runs: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    lasted: dt.timedelta | None = None  # mean of the completed runs
    decided_by_people: int = 0  # runs with at least one decision by a person
    usage: Usage = field(default_factory=usage.Usage)

    @property
    def completed_share(self) -> float | None:
        """Return the share of completed runs, 0..1; cancelled runs are not counted."""
        completed = self.by_status.get(Status.COMPLETED, 0)
        return success_rate(completed, self.by_status.get(Status.FAILED, 0))

    @property
    def people_share(self) -> float | None:
        """Return the share of runs with a decision by a person, 0..1."""
        return self.decided_by_people / self.runs if self.runs else None

    @property
    def tokens_each(self) -> float | None:
        """Return the mean number of tokens per run."""
        return self.usage.tokens / self.runs if self.runs else None

    @property
    def cost_each(self) -> Decimal | None:
        """Return the mean cost per run, None if no call has a price."""
        cost = self.usage.cost
        return None if cost is None or not self.runs else cost / self.runs


@dataclass(frozen=True, slots=True)
class EdgeShares:
    """An edge of a branching node, and how often each profile took it."""

    from_node: str
    to_node: str
    shares: tuple[float | None, ...]  # 0..1, in the order of the profiles


def compare(workflow_name: str, names: list[str]) -> list[ProfileStats]:
    """Return the profiles in `names`, then others that have runs."""
    found = {name: ProfileStats(name) for name in names}
    for row in _runs(workflow_name):
        one = found.setdefault(row["profile_name"], ProfileStats(row["profile_name"]))
        one.runs += row["number"]
        one.by_status[row["status"]] = row["number"]
        if row["status"] == Status.COMPLETED:
            one.lasted = row["lasted"]
    for name, number in _decided(workflow_name):
        found[name].decided_by_people = number
    for name, taken in _used(workflow_name).items():
        found[name].usage = taken
    return list(found.values())


def _runs(workflow_name: str) -> Any:
    runs = Run.objects.filter(workflow_name=workflow_name).order_by()
    groups = runs.values("profile_name", "status")
    return groups.annotate(number=Count("id"), lasted=Avg(LASTED))


def _decided(workflow_name: str) -> Any:
    decisions = Decision.objects.filter(
        run__workflow_name=workflow_name,
        taken=True,
        decided_by__isnull=False,
        inherited_from=None,
    ).order_by()
    groups = decisions.values("run__profile_name")
    counted = groups.annotate(number=Count("run", distinct=True))
    return counted.values_list("run__profile_name", "number")


def _used(workflow_name: str) -> dict[str, Usage]:
    calls = AgentCall.objects.filter(run__workflow_name=workflow_name)
    return usage.by(calls, "run__profile_name")


def outgoing_edges(workflow_name: str, names: list[str]) -> list[EdgeShares]:
    """Return the edges of branching nodes with their share for each profile."""
    decisions = Decision.objects.filter(
        run__workflow_name=workflow_name, inherited_from=None
    ).order_by()
    taken = decisions.filter(taken=True).values(
        "run__profile_name", "from_node", "to_node"
    )
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in decisions.values("from_node", "to_node").distinct():
        counts[row["from_node"], row["to_node"]] = {}
    for row in taken.annotate(number=Count("id")):
        place = (row["from_node"], row["to_node"])
        counts[place][row["run__profile_name"]] = row["number"]
    outgoing: dict[str, list[str]] = defaultdict(list)
    for from_node, to_node in counts:
        outgoing[from_node].append(to_node)
    return [
        EdgeShares(
            from_node, to_node, _shares(counts, from_node, to_node, outgoing, names)
        )
        for from_node, targets in sorted(outgoing.items())
        for to_node in sorted(targets)
        if len(targets) > 1
    ]


def _shares(
    counts: dict[tuple[str, str], dict[str, int]],
    from_node: str,
    to_node: str,
    outgoing: dict[str, list[str]],
    names: list[str],
) -> tuple[float | None, ...]:
    shares = []
    for name in names:
        whole = sum(
            counts[from_node, other].get(name, 0) for other in outgoing[from_node]
        )
        mine = counts[from_node, to_node].get(name, 0)
        shares.append(mine / whole if whole else None)
    return tuple(shares)
