"""The comparison of two runs: both paths on one graph, the first difference, durations."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from workflows.engine.errors import CheckpointMismatch
from workflows.models import (
    Decision,
    DecisionKind,
    Fork,
    ForkKind,
    Run,
    Stage,
    StageKind,
    StageStatus,
    with_current,
)
from workflows.pages.graph.branches import all_nodes, first_nodes
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw, times
from workflows.pages.redaction import is_redacted, redact_rows
from workflows.pages.render.text import readable_name, span
from workflows.pages.run.cancelled_stages import as_shown
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workflows.services.state_diff import Difference

MAX_STEPS = 2_000  # of each run that are compared
MAX_DECISIONS = 10 * MAX_STEPS
TWO_COUNTS_ROOM = 118.0  # pixels, for “A×1234 B×1234”
FIRST, SECOND, BOTH = "only-a", "only-b", "both"
CHANGES = {ForkKind.OVERRIDE: "edge", ForkKind.RESPONSE: "response"}  # of a fork
LEGEND = ((BOTH, "both"), (FIRST, "only A"), (SECOND, "only B"), ("", "neither"))


@dataclass(frozen=True, slots=True)
class SharedEdgeState(EdgeState):
    """The state of an edge in two runs: how many steps of each took it."""

    first: int = 0
    second: int = 0

    @property
    def outcome(self) -> str:
        """Return which of the runs took it."""
        return _which(self.first, self.second)

    @property
    def count(self) -> str:
        """Return the counts of both runs, "" if each took it at most once."""
        if max(self.first, self.second) < 2 or not self.outcome:  # noqa: PLR2004
            return ""
        if self.first == self.second:
            return times(self.first)
        return f"A{_times(self.first)} B{_times(self.second)}"


def _times(count: int) -> str:
    return times(count) or f"×{count}"


def _which(first: float, second: float) -> str:
    if first and second:
        return BOTH
    if first:
        return FIRST
    return SECOND if second else ""


@dataclass(slots=True)
class RunPath:
    """The path of one run: its steps in order, each with the result of its last attempt."""

    run: Run
    letter: str
    steps: Sequence[Stage] = ()
    decisions: Mapping[int, Sequence[Decision]] = field(default_factory=dict)  # by step

    @classmethod
    def of(cls, run: Run, letter: str) -> RunPath:
        """Read the path of a run."""
        steps: dict[int, Stage] = {}
        stages = run.stages.exclude(kind=StageKind.EDIT)
        stages = stages.order_by("sequence", "attempt")[:MAX_STEPS]
        shown = as_shown(run, with_current(run, stages)[:MAX_STEPS])
        for stage in redact_rows(run, shown):
            steps[stage.sequence] = stage
        by_edge: dict[int, dict[int, Decision]] = defaultdict(dict)
        rows = run.decisions.select_related("decided_by").order_by(
            "sequence", "attempt"
        )
        for decision in redact_rows(run, rows[:MAX_DECISIONS]):
            edges = by_edge[decision.sequence]
            if decision.kind == DecisionKind.OVERRIDE:
                for other in edges.values():
                    other.taken = False  # as shown: the row stays as it is
            edges[decision.edge_index] = decision
        decisions = {step: list(edges.values()) for step, edges in by_edge.items()}
        return cls(run, letter, list(steps.values()), decisions)

    def taken(self) -> Counter[tuple[str, int]]:
        """Return how many steps took each edge, by source and index."""
        every = (one for edges in self.decisions.values() for one in edges)
        return Counter((one.from_node, one.edge_index) for one in every if one.taken)

    def durations(self) -> dict[str, float]:
        """Return the total milliseconds of each node."""
        total: dict[str, float] = defaultdict(float)
        for stage in self.steps:
            total[stage.node_name] += stage.duration_ms or 0.0
        return total

    def step_count(self) -> Counter[str]:
        """Return the number of steps of each node."""
        return Counter(stage.node_name for stage in self.steps)


@dataclass(frozen=True, slots=True)
class ComparedEdge:
    """An edge of the node after which the paths differ, with the decision of each run."""

    target: str
    predicate: str
    first: Decision | None
    second: Decision | None

    @property
    def differs(self) -> bool:
        """Return whether only one of the runs took it."""
        taken = [bool(one and one.taken) for one in (self.first, self.second)]
        return taken[0] != taken[1]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference between the paths of two runs."""

    place: int  # number of common steps
    title: str
    node: str = ""  # of the last common step, if the runs took different edges
    at: int = 0  # the number of that step in both runs
    edges: Sequence[ComparedEdge] = ()


@dataclass(frozen=True, slots=True)
class NodeDurations:
    """The durations of one node in both runs."""

    node: str
    first: float | None  # milliseconds; None = not reached
    second: float | None
    longest: float  # of all nodes and both runs
    step_count: tuple[int, int]

    @property
    def bars(self) -> tuple[int, int]:
        """Return the widths of the bars, 0..100."""
        first, second = (
            round((duration or 0.0) / self.longest * 100)
            for duration in (self.first, self.second)
        )
        return first, second


class Comparison:
    """Two runs, usually of one workflow, as the comparison page shows them."""

    damage: str = ""  # why the states can't be compared

    def __init__(self, first: Run, second: Run) -> None:
        """Read the paths of both runs."""
        self.first, self.second = RunPath.of(first, "A"), RunPath.of(second, "B")

    @property
    def paths(self) -> tuple[RunPath, RunPath]:
        return self.first, self.second

    @property
    def is_one_workflow(self) -> bool:
        return self.first.run.workflow_name == self.second.run.workflow_name

    @property
    def is_redacted(self) -> bool:
        """Return whether the viewer may not read the values of one of the runs."""
        return any(is_redacted(path.run) for path in self.paths)

    @property
    def is_one_graph(self) -> bool:
        return bool(self.first.run.graph == self.second.run.graph)

    @cached_property
    def diagram(self) -> Diagram:
        """Both paths on one graph."""
        first, second = self.first.taken(), self.second.taken()
        durations = self.first.durations(), self.second.durations()
        step_count = self.first.step_count(), self.second.step_count()
        edges: dict[tuple[str, int], EdgeState] = {
            edge: SharedEdgeState(
                taken=first[edge] + second[edge], first=first[edge], second=second[edge]
            )
            for edge in {*first, *second}
        }
        nodes = {
            name: NodeState(
                state=_which(step_count[0][name], step_count[1][name]),
                text=_durations(durations[0].get(name), durations[1].get(name)),
            )
            for name in {*step_count[0], *step_count[1]}
        }
        graph = merged(self.first.run.graph, self.second.run.graph)
        for source, index, node in first_nodes(graph):
            counts = step_count[0][node], step_count[1][node]
            edges[source, index] = SharedEdgeState(
                taken=sum(counts), first=counts[0], second=counts[1]
            )
        return draw(graph, nodes, edges, count_room=TWO_COUNTS_ROOM)

    @cached_property
    def fork(self) -> Fork | None:
        """How one of the runs was forked from the other, if it was."""
        one, other = self.first.run.pk, self.second.run.pk
        forked = Q(run=one, origin_key=other) | Q(run=other, origin_key=one)
        return Fork.objects.filter(forked).first()

    @cached_property
    def divergence(self) -> Divergence:
        """The first difference between the paths; of a fork, what was changed at the latest."""
        found = self._difference_of_paths()
        fork = self.fork
        if fork is None or not fork.kept or found.place <= fork.kept:
            return found
        if fork.kind == ForkKind.RERUN and not fork.is_edited:
            return found  # it was forked without a change
        letters = "BA" if fork.run_id == self.second.run.pk else "AB"
        changed = "state" if fork.is_edited else CHANGES[ForkKind(fork.kind)]
        title = (
            f"{letters[0]} is a fork of {letters[1]} with another {changed} after step"
            f" {fork.kept}."
        )
        return Divergence(fork.kept, title, at=fork.kept)

    def _difference_of_paths(self) -> Divergence:
        first, second = self.first.steps, self.second.steps
        for place, (a, b) in enumerate(zip(first, second, strict=False)):
            if a.node_name != b.node_name:
                return self._different_nodes(place)
            if a.status != b.status:
                step = f"Step {place + 1}, {readable_name(a.node_name)}"
                title = f"{step}: A {_status(a)}, B {_status(b)}."
                return Divergence(place, title)
        return self._common_steps_only(len(first), len(second))

    def _common_steps_only(self, first: int, second: int) -> Divergence:
        common = min(first, second)
        if first == second:
            title = "None: both runs took the same path." if common else "No steps yet."
            return Divergence(common, title)
        shorter = "A" if first < second else "B"
        if not common:
            return Divergence(0, f"Run {shorter} has no steps yet.")
        steps = f"{common} step{'' if common == 1 else 's'}"
        return Divergence(common, f"Same path for {steps}, where {shorter} ends.")

    def _different_nodes(self, place: int) -> Divergence:
        if not place:
            return Divergence(0, "The first steps differ.")
        a, b = self.first.steps[place - 1], self.second.steps[place - 1]
        left = {one.edge_index: one for one in self.first.decisions.get(a.sequence, ())}
        right = {
            one.edge_index: one for one in self.second.decisions.get(b.sequence, ())
        }
        edges = [
            ComparedEdge(
                (left.get(index) or right[index]).to_node,
                (left.get(index) or right[index]).predicate_name,
                left.get(index),
                right.get(index),
            )
            for index in sorted({*left, *right})
        ]
        title = (
            f"After step {place}, {readable_name(a.node_name)}:"
            f" A → {readable_name(self.first.steps[place].node_name)},"
            f" B → {readable_name(self.second.steps[place].node_name)}."
        )
        return Divergence(place, title, a.node_name, a.sequence, edges)

    @cached_property
    def differences(self) -> list[Difference]:
        """The differences between the states there, or at the ends of the runs."""
        if self.is_redacted:
            return []
        try:
            return system.compare_states(
                self._state(self.first), self._state(self.second)
            )
        except CheckpointMismatch as damaged:
            self.damage = str(damaged)
            return []

    def _state(self, path: RunPath) -> tuple[Any, int]:
        place = min(self.divergence.place, len(path.steps))
        fork = self.fork
        if fork is not None and fork.run_id == path.run.pk and place == fork.kept:
            return path.run.pk, fork.enters_after  # after the edit, if there is one
        return path.run.pk, path.steps[place - 1].sequence if place else 0

    @cached_property
    def durations(self) -> list[NodeDurations]:
        """The durations of each node in both runs, in the order of the graph."""
        first, second = self.first.durations(), self.second.durations()
        step_count = self.first.step_count(), self.second.step_count()
        longest = max([*first.values(), *second.values()], default=0.0) or 1.0
        graph = merged(self.first.run.graph, self.second.run.graph)
        names = [node["name"] for node in all_nodes(graph)]
        return [
            NodeDurations(
                name,
                first.get(name),
                second.get(name),
                longest,
                (step_count[0][name], step_count[1][name]),
            )
            for name in names
            if name in first or name in second
        ]


def _status(stage: Stage) -> str:
    texts = {
        StageStatus.STARTED: "is running",
        StageStatus.WAITING: "is waiting",
        StageStatus.COMPLETED: "completed",
        StageStatus.FAILED: "failed",
        StageStatus.CANCELLED: "was cancelled",
        StageStatus.INTERRUPTED: "was interrupted",
    }
    return texts[StageStatus(stage.status)]


def _durations(first: float | None, second: float | None) -> str:
    texts = [
        f"{letter} {span(milliseconds / 1000)}"
        for letter, milliseconds in (("A", first), ("B", second))
        if milliseconds is not None
    ]
    return " · ".join(texts)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one graph with the nodes and edges of both."""
    if first == second:
        return first
    nodes = {node["name"]: node for node in _parts(second, "nodes")}
    nodes |= {node["name"]: node for node in _parts(first, "nodes")}
    edges: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    for edge in [*_parts(first, "edges"), *_parts(second, "edges")]:
        key = (edge["source"], edge["target"], edge.get("index") or 0)
        edges.setdefault(key, edge)
    order = dict.fromkeys(
        node["name"] for graph in (first, second) for node in _parts(graph, "nodes")
    )
    return {
        "entry": first.get("entry") or second.get("entry"),
        "exits": sorted({*_parts(first, "exits"), *_parts(second, "exits")}),
        "nodes": [nodes[name] for name in order],
        "edges": list(edges.values()),
    }


def _parts(graph: Mapping[str, Any], name: str) -> Iterable[Any]:
    return graph.get(name) or ()
