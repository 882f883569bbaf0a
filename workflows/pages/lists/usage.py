"""Usage of a workflow: the share of each edge and the durations of each node.

Shares are those of the last 30 days, from the tallies; durations are those of the newest
runs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any

from workflows.models import ENDED, Attempt, Outcome, Stage, StageStatus
from workflows.pages.graph.branches import all_edges, all_nodes
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw
from workflows.pages.graph.undo_and_end_nodes import ClosingNode, closing_nodes
from workflows.pages.lists.edge_shares import NodeShares, shares_of
from workflows.pages.lists.edges import EdgeRef
from workflows.pages.lists.period import Period
from workflows.pages.render.text import percent, span
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import User

MAX_RUNS = 100  # newest runs that durations are based on
MAX_STAGES = 20_000  # of these runs
LINE_WIDTHS = 4
SLOW_QUANTILE = 0.95
SHARES_PERIOD = Period(span="30d")


@dataclass(frozen=True, slots=True)
class NodeDurations:
    """Durations of a node in milliseconds."""

    node: str
    count: int
    failed: int
    median: float | None
    slow: float | None  # p95
    share: float = 0.0  # of the longest p95, 0..1, for a bar

    @property
    def bar(self) -> int:
        """Return the width of the bar, 0..100."""
        return round(self.share * 100)

    @property
    def text(self) -> str:
        """Return the durations as shown in the diagram."""
        if self.median is None or self.slow is None:
            return ""
        return f"{span(self.median / 1000)} · p95 {span(self.slow / 1000)}"


@dataclass(frozen=True, slots=True)
class EdgeShare(EdgeState):
    """An edge with its share of the outgoing edges of its node."""

    share: float = 0.0  # 0..1

    @property
    def outcome(self) -> str:
        """Return the CSS class of the line width: share-0 for never taken, to share-4."""
        return f"share-{ceil(self.share * LINE_WIDTHS)}"

    @property
    def count(self) -> str:
        """Return the share, which is the text next to the edge."""
        return percent(self.share)


@dataclass(frozen=True, slots=True)
class Usage:
    """A workflow's graph with shares and durations."""

    diagram: Diagram
    closing_nodes: Sequence[ClosingNode]
    durations: Sequence[NodeDurations]
    runs: int  # that durations are based on

    @property
    def is_known(self) -> bool:
        """Return whether there are finished runs."""
        return bool(self.runs)


def usage_of(person: User, name: str, graph: Mapping[str, Any]) -> Usage:
    """Return the usage of a workflow, drawn on its graph."""
    runs = visible_runs(person).filter(workflow_name=name)
    ended = runs.filter(status__in=ENDED).order_by("-pk")
    ids = list(ended.values_list("pk", flat=True)[:MAX_RUNS])
    durations = _durations(ids, [node["name"] for node in all_nodes(graph)])
    nodes = {one.node: NodeState(text=one.text) for one in durations if one.text}
    edges = _edges(name, graph, shares_of(person, name, SHARES_PERIOD))
    diagram = draw(graph, nodes, edges)
    return Usage(diagram, closing_nodes(graph), durations, len(ids))


def _durations(ids: Sequence[Any], order: Sequence[str]) -> list[NodeDurations]:
    """Return the durations of nodes in these runs, in the order of the graph."""
    stages = Stage.objects.filter(run__in=ids, inherited_from=None).order_by()
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
        NodeDurations(
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
    return sorted(times)[ceil(len(times) * SLOW_QUANTILE) - 1]


def _edges(
    name: str, graph: Mapping[str, Any], leaving: Sequence[NodeShares]
) -> dict[tuple[str, int], EdgeState]:
    """Return the share of each edge of the graph; edges of older graphs are left out."""
    known = {
        (share.edge.source, share.edge.target, share.edge.condition): share
        for one in leaving
        for share in one.shares
    }
    states: dict[tuple[str, int], EdgeState] = {}
    for edge in all_edges(graph):
        ref = EdgeRef(name, edge["source"], edge["target"], edge.get("predicate") or "")
        if share := known.get((ref.source, ref.target, ref.condition)):
            states[edge["source"], edge.get("index") or 0] = EdgeShare(
                taken=share.taken, rejected=share.rejected, share=share.share
            )
    return states
