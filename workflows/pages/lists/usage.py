"""How a workflow is used: the share of each edge and how long each node takes.

Shares are those of the last 30 days, from the tallies; durations are exact, of the
newest runs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any

from workflows.access import permissions
from workflows.models import ENDED, Attempt, Outcome, Run, Stage, StageStatus
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw
from workflows.pages.lists.edge_shares import Leaving, shares_of
from workflows.pages.lists.edges import EdgeRef
from workflows.pages.lists.period import Period
from workflows.pages.render.text import percent, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import User

NEWEST = 100  # runs that durations are of
MAX_STAGES = 20_000  # of these runs
THICKNESSES = 4
SLOW = 0.95  # the share of stages that are faster than the p95
WHEN = Period(span="30d")


@dataclass(frozen=True, slots=True)
class Took:
    """How long a node takes, in milliseconds."""

    node: str
    count: int
    failed: int
    median: float | None
    slow: float | None  # p95
    share: float = 0.0  # of the longest p95, 0..1, for a bar

    @property
    def bar(self) -> int:
        """Return the bar's width, 0..100."""
        return round(self.share * 100)

    @property
    def text(self) -> str:
        """Return it as it stands in a drawing."""
        if self.median is None or self.slow is None:
            return ""
        return f"{span(self.median / 1000)} · p95 {span(self.slow / 1000)}"


@dataclass(frozen=True, slots=True)
class EdgeShare(EdgeState):
    """An edge with its share of all ways out of its node."""

    share: float = 0.0  # 0..1

    @property
    def outcome(self) -> str:
        """Return how thick it is drawn: share-0 for never, up to share-4."""
        return f"share-{ceil(self.share * THICKNESSES)}"

    @property
    def count(self) -> str:
        """Return the share, for it is what is written beside the edge."""
        return percent(self.share)


@dataclass(frozen=True, slots=True)
class Usage:
    """A workflow's graph with how it is used."""

    diagram: Diagram
    took: Sequence[Took]
    runs: int  # that durations are of

    @property
    def is_known(self) -> bool:
        """Tell whether it was ever used."""
        return bool(self.runs)


def usage_of(person: User, name: str, graph: Mapping[str, Any]) -> Usage:
    """Return how a workflow is used, drawn on its graph."""
    runs = permissions.visible(person, Run.objects.filter(workflow_name=name))
    ended = runs.filter(status__in=ENDED).order_by("-pk")
    ids = list(ended.values_list("pk", flat=True)[:NEWEST])
    took = _took(ids, [node["name"] for node in graph.get("nodes", ())])
    nodes = {one.node: NodeState(text=one.text) for one in took if one.text}
    edges = _edges(name, graph, shares_of(person, name, WHEN))
    return Usage(draw(graph, nodes, edges), took, len(ids))


def _took(ids: Sequence[Any], order: Sequence[str]) -> list[Took]:
    """Return how long the nodes took in these runs, in the order of the graph."""
    stages = Stage.objects.filter(run__in=ids).order_by()
    durations: dict[str, list[float]] = defaultdict(list)
    failed: dict[str, int] = defaultdict(int)
    attempts = Attempt.objects.filter(run__in=ids, outcome=Outcome.CANCELLED)
    cancelled = set(attempts.values_list("run_id", "number"))
    rows = stages.values_list("node_name", "status", "duration_ms", "run_id", "attempt")
    for node, status, duration, run_id, attempt in rows[:MAX_STAGES]:
        if status == StageStatus.COMPLETED and duration is not None:
            durations[node].append(duration)
        is_failed = status == StageStatus.FAILED and (run_id, attempt) not in cancelled
        failed[node] += is_failed
    slow = {node: _slow(times) for node, times in durations.items()}
    longest = max(slow.values(), default=0.0) or 1.0
    names = [*order, *sorted(set(failed) - set(order))]
    return [
        Took(
            node=name,
            count=len(durations[name]),
            failed=failed[name],
            median=median(durations[name]) if durations[name] else None,
            slow=slow.get(name),
            share=slow.get(name, 0.0) / longest,
        )
        for name in names
    ]


def _slow(times: list[float]) -> float:
    return sorted(times)[ceil(len(times) * SLOW) - 1]


def _edges(
    name: str, graph: Mapping[str, Any], leaving: Sequence[Leaving]
) -> dict[tuple[str, int], EdgeState]:
    """Return the share of each edge of the graph; edges of older graphs are left out."""
    known = {
        (share.way.source, share.way.target, share.way.condition): share
        for one in leaving
        for share in one.shares
    }
    found: dict[tuple[str, int], EdgeState] = {}
    for edge in graph.get("edges", ()):
        way = EdgeRef(name, edge["source"], edge["target"], edge.get("predicate") or "")
        if share := known.get((way.source, way.target, way.condition)):
            found[edge["source"], edge.get("index") or 0] = EdgeShare(
                taken=share.taken, rejected=share.rejected, share=share.share
            )
    return found
