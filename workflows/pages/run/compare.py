"""Two runs beside each other: both ways on one graph, where they parted, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workflows.engine.errors import CheckpointMismatch
from workflows.models import Decision, Run, Stage, StageStatus
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw, times
from workflows.pages.redaction import is_redacted, redact_rows
from workflows.pages.render.text import in_words, span
from workflows.pages.run.stage_status import as_shown
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workflows.services.state_diff import Difference

MOST = 2_000  # steps of each run that are compared
MILLISECONDS = 1000
TWO_COUNTS_ROOM = 118.0  # pixels, for “A×1234 B×1234”
FIRST, SECOND, BOTH = "only-a", "only-b", "both"
LEGEND = ((BOTH, "both"), (FIRST, "only A"), (SECOND, "only B"), ("", "neither"))


@dataclass(frozen=True, slots=True)
class OfTwo(EdgeState):
    """An edge, and how often each of two runs took it."""

    first: int = 0
    second: int = 0

    @property
    def outcome(self) -> str:
        """Return whose way it was."""
        return _whose(self.first, self.second)

    @property
    def count(self) -> str:
        """Return how often each came by, if it was not once."""
        if max(self.first, self.second) < 2 or not self.outcome:  # noqa: PLR2004
            return ""
        if self.first == self.second:
            return times(self.first)
        return f"A{_times(self.first)} B{_times(self.second)}"


def _times(count: int) -> str:
    return times(count) or f"×{count}"


def _whose(first: float, second: float) -> str:
    if first and second:
        return BOTH
    if first:
        return FIRST
    return SECOND if second else ""


@dataclass(slots=True)
class RunPath:
    """The way one run went: its steps in order, each as its last attempt left it."""

    run: Run
    letter: str
    steps: Sequence[Stage] = ()
    decisions: Mapping[int, Sequence[Decision]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, letter: str) -> RunPath:
        """Read the way of a run."""
        steps: dict[int, Stage] = {}
        stages = as_shown(run, run.stages.order_by("sequence", "attempt")[:MOST])
        for stage in redact_rows(run, stages):
            steps[stage.sequence] = stage
        decided: dict[int, dict[int, Decision]] = defaultdict(dict)
        rows = run.decisions.select_related("decided_by").order_by(
            "sequence", "attempt"
        )
        for decision in redact_rows(run, rows[: MOST * 10]):
            decided[decision.sequence][decision.edge_index] = decision
        decisions = {at: list(edges.values()) for at, edges in decided.items()}
        return cls(run, letter, list(steps.values()), decisions)

    def taken(self) -> Counter[tuple[str, int]]:
        """Return how often each edge was taken."""
        every = (one for edges in self.decisions.values() for one in edges)
        return Counter((one.from_node, one.edge_index) for one in every if one.taken)

    def spent(self) -> dict[str, float]:
        """Return the milliseconds spent in each node."""
        found: dict[str, float] = defaultdict(float)
        for stage in self.steps:
            found[stage.node_name] += stage.duration_ms or 0.0
        return found

    def visits(self) -> Counter[str]:
        """Return how often each node was visited."""
        return Counter(stage.node_name for stage in self.steps)


@dataclass(frozen=True, slots=True)
class Parting:
    """Where two runs went different ways."""

    place: int  # steps they had in common
    title: str
    node: str = ""  # the one whose ways out parted them
    at: int = 0  # its step in both
    edges: Sequence[Edge] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """One way out of the node where they parted, as each run judged it."""

    target: str
    predicate: str
    first: Decision | None
    second: Decision | None

    @property
    def differs(self) -> bool:
        """Tell whether the runs judged it differently."""
        taken = [bool(one and one.taken) for one in (self.first, self.second)]
        return taken[0] != taken[1]


@dataclass(frozen=True, slots=True)
class Both:
    """How long both runs were in one node."""

    node: str
    first: float | None  # milliseconds; None = never there
    second: float | None
    longest: float  # of all nodes and both runs
    visits: tuple[int, int]

    @property
    def bars(self) -> tuple[int, int]:
        """Return the bars' widths, 0..100."""
        first, second = (
            round((took or 0.0) / self.longest * 100)
            for took in (self.first, self.second)
        )
        return first, second


class Comparison:
    """Two runs of one workflow, beside each other."""

    def __init__(self, first: Run, second: Run) -> None:
        """Take both runs."""
        self.first, self.second = RunPath.of(first, "A"), RunPath.of(second, "B")

    @property
    def ways(self) -> tuple[RunPath, RunPath]:
        """Return both."""
        return self.first, self.second

    @property
    def is_one_workflow(self) -> bool:
        """Tell whether comparing them means something."""
        return self.first.run.workflow_name == self.second.run.workflow_name

    @property
    def is_redacted(self) -> bool:
        """Tell whether the values of one of them are for others."""
        return any(is_redacted(way.run) for way in self.ways)

    @property
    def is_one_graph(self) -> bool:
        """Tell whether both ran the same version."""
        return bool(self.first.run.graph == self.second.run.graph)

    @cached_property
    def diagram(self) -> Diagram:
        """Both ways on one graph."""
        first, second = self.first.taken(), self.second.taken()
        spent = self.first.spent(), self.second.spent()
        visits = self.first.visits(), self.second.visits()
        edges: dict[tuple[str, int], EdgeState] = {
            edge: OfTwo(
                taken=first[edge] + second[edge], first=first[edge], second=second[edge]
            )
            for edge in {*first, *second}
        }
        nodes = {
            name: NodeState(
                state=_whose(visits[0][name], visits[1][name]),
                text=_spent(spent[0].get(name), spent[1].get(name)),
            )
            for name in {*visits[0], *visits[1]}
        }
        graph = merged(self.first.run.graph, self.second.run.graph)
        return draw(graph, nodes, edges, count_room=TWO_COUNTS_ROOM)

    @cached_property
    def parting(self) -> Parting:
        """Where they parted first."""
        one, other = self.first.steps, self.second.steps
        for place, (a, b) in enumerate(zip(one, other, strict=False)):
            if a.node_name != b.node_name:
                return self._parted(place)
            if a.status != b.status:
                title = (
                    f"At step {place + 1}, {in_words(a.node_name)}: A"
                    f" {_how(a)}, B {_how(b)}."
                )
                return Parting(place, title)
        return self._to_the_end(len(one), len(other))

    def _to_the_end(self, one: int, other: int) -> Parting:
        if one == other:
            return Parting(one, "Both went the same way, step by step.")
        if min(one, other) and max(one, other) > min(one, other):
            shorter = "A" if one < other else "B"
            return Parting(
                min(one, other),
                f"Both went the same way for {min(one, other)} steps; then {shorter} went"
                " no further.",
            )
        return Parting(0, f"{'A' if one < other else 'B'} has not begun.")

    def _parted(self, place: int) -> Parting:
        if not place:
            return Parting(0, "They begin with different steps.")
        a, b = self.first.steps[place - 1], self.second.steps[place - 1]
        left = {one.edge_index: one for one in self.first.decisions.get(a.sequence, ())}
        right = {
            one.edge_index: one for one in self.second.decisions.get(b.sequence, ())
        }
        edges = [
            Edge(
                (left.get(at) or right[at]).to_node,
                (left.get(at) or right[at]).predicate_name,
                left.get(at),
                right.get(at),
            )
            for at in sorted({*left, *right})
        ]
        title = (
            f"After step {place}, {in_words(a.node_name)}: A went on to"
            f" {in_words(self.first.steps[place].node_name)}, B to"
            f" {in_words(self.second.steps[place].node_name)}."
        )
        return Parting(place, title, a.node_name, a.sequence, edges)

    @cached_property
    def differences(self) -> list[Difference]:
        """What their states had not in common where they parted, or at their ends."""
        if self.is_redacted:
            return []
        try:
            return system.compare_states(
                self._state(self.first), self._state(self.second)
            )
        except CheckpointMismatch as damaged:
            self.damage = str(damaged)
            return []

    damage: str = ""  # why the states cannot be compared

    def _state(self, way: RunPath) -> tuple[Any, int]:
        place = min(self.parting.place, len(way.steps))
        return way.run.pk, way.steps[place - 1].sequence if place else 0

    @cached_property
    def durations(self) -> list[Both]:
        """How long each was in which node, in the order of the graph."""
        first, second = self.first.spent(), self.second.spent()
        visits = self.first.visits(), self.second.visits()
        longest = max([*first.values(), *second.values()], default=0.0) or 1.0
        graph = merged(self.first.run.graph, self.second.run.graph)
        names = [node["name"] for node in graph.get("nodes") or ()]
        return [
            Both(
                name,
                first.get(name),
                second.get(name),
                longest,
                (visits[0][name], visits[1][name]),
            )
            for name in names
            if name in first or name in second
        ]


def _how(stage: Stage) -> str:
    told = {
        StageStatus.STARTED: "is under way",
        StageStatus.WAITING: "waits",
        StageStatus.COMPLETED: "completed",
        StageStatus.FAILED: "failed",
        StageStatus.CANCELLED: "was cancelled",
        StageStatus.INTERRUPTED: "was interrupted",
    }
    return told[StageStatus(stage.status)]


def _spent(first: float | None, second: float | None) -> str:
    told = [
        f"{letter} {span(took / MILLISECONDS)}"
        for letter, took in (("A", first), ("B", second))
        if took is not None
    ]
    return " · ".join(told)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one graph with the nodes and edges of both."""
    if first == second:
        return first
    nodes = {node["name"]: node for node in _parts(second, "nodes")}
    nodes |= {node["name"]: node for node in _parts(first, "nodes")}
    edges: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    for edge in [*_parts(first, "edges"), *_parts(second, "edges")]:
        place = (edge["source"], edge["target"], edge.get("index") or 0)
        edges.setdefault(place, edge)
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
