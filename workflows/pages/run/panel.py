"""The panel of the node or edge that is selected in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from workflows.models import Decision, StageStatus, add_current
from workflows.pages.graph.branches import all_edges, all_nodes
from workflows.pages.graph.diagram import KINDS
from workflows.pages.redaction import redact_rows
from workflows.pages.render.text import readable_name
from workflows.pages.run.baselines import usual_ms
from workflows.pages.run.steps import Step, add_durations, group_steps

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from workflows.models import Run, Stage
    from workflows.pages.run.durations import Place, StepDuration
    from workflows.pages.run.rows_at_step import PointInTime
    from workflows.pages.run.view_options import RunView

MAX_STEPS = 10  # newest steps of a node that are shown
MAX_DECISIONS = 15  # newest decisions on an edge that are shown
MAX_DURATIONS = 1_000  # newest steps that count for the median


@dataclass(frozen=True, slots=True)
class OutgoingEdge:
    """An edge that leaves the selected node, with the counts of its decisions."""

    target: str
    condition: str
    edge: str  # as in a query
    taken: int
    rejected: int


class Panel:
    """The selected node or edge, at a point in time of a run."""

    def __init__(
        self,
        run: Run,
        view: RunView,
        moment: PointInTime,
        durations: Callable[[], Mapping[Place, StepDuration]] = dict,
        known_error: str = "",
    ) -> None:
        """Call `durations` for those of the timeline, by place, only if steps are shown.

        `known_error` is the error that the page shows already.
        """
        self.known_error = known_error
        self.run, self.view, self.moment = run, view, moment
        self._known_durations = durations

    @cached_property
    def node(self) -> Mapping[str, Any] | None:
        """The selected node of the graph."""
        nodes = all_nodes(self.run.graph)
        return next((one for one in nodes if one["name"] == self.view.node), None)

    @cached_property
    def edge(self) -> Mapping[str, Any] | None:
        """The selected edge of the graph."""
        if self.view.edge is None:
            return None
        source, place = self.view.edge
        for one in all_edges(self.run.graph):
            if one["source"] == source and (one.get("index") or 0) == place:
                edge: Mapping[str, Any] = one
                return edge
        return None

    @property
    def is_open(self) -> bool:
        """Whether a node or edge of the graph is selected."""
        return bool(self.node or self.edge)

    @property
    def kind(self) -> str:
        """The kind of the node as text."""
        return KINDS.get((self.node or {}).get("kind", ""), "")

    # -- node -------------------------------------------------------------------------

    @property
    def _stages(self) -> QuerySet[Stage]:
        """The rows of the stages of the node, without the one in progress."""
        return self.moment.rows(self.run.stages.filter(node_name=self.view.node))

    @property
    def _current_stage(self) -> Stage | None:
        """The stage in progress, if it is one of the node."""
        current = self.moment.current_stage(self.run)
        return current if current and current.node_name == self.view.node else None

    @cached_property
    def steps(self) -> list[Step]:
        """The newest steps of the node, newest first."""
        rows = self._stages.order_by("-attempt", "-sequence")[:MAX_STEPS]
        newest = add_current(rows, self._current_stage)
        sequences = [stage.sequence for stage in newest]
        decisions = self.moment.rows(self.run.decisions.filter(sequence__in=sequences))
        retries = self.moment.rows(self.run.retries.filter(sequence__in=sequences))
        steps = group_steps(
            self.run, newest, decisions.select_related("decided_by"), retries
        )
        add_durations(steps, self._known_durations())
        return [step for step in steps if step.stage is not None][: -MAX_STEPS - 1 : -1]

    @property
    def has_waits(self) -> bool:
        """Whether a shown step waited: durations then include waits."""
        return any(step.duration and step.duration.has_waits for step in self.steps)

    @cached_property
    def _durations(self) -> tuple[int, list[float]]:
        stages, current = self._stages, self._current_stage
        count = stages.values("sequence").distinct().count()
        if current and not stages.filter(sequence=current.sequence).exists():
            count += 1
        completed = stages.filter(status=StageStatus.COMPLETED, duration_ms__gte=0)
        newest = completed.order_by("-pk").values_list("duration_ms", flat=True)
        return count, [ms for ms in newest[:MAX_DURATIONS] if ms is not None]

    @property
    def count(self) -> int:
        """The number of steps of the node."""
        return self._durations[0]

    @property
    def median_ms(self) -> float | None:
        """The median milliseconds of the steps of this run."""
        return median(self._durations[1]) if self._durations[1] else None

    @cached_property
    def usual(self) -> float | None:
        """The median milliseconds in earlier runs."""
        return usual_ms(self.run).get(self.view.node)

    @cached_property
    def outgoing_edges(self) -> Sequence[OutgoingEdge]:
        """The edges that leave the node."""
        rows = self.moment.rows(self.run.decisions.filter(from_node=self.view.node))
        counts: dict[tuple[int, bool], set[int]] = {}
        for index, taken, step in rows.values_list("edge_index", "taken", "sequence"):
            counts.setdefault((index, taken), set()).add(step)
        return [
            OutgoingEdge(
                edge["target"],
                _condition(edge),
                f"{edge['source']}.{edge.get('index') or 0}",
                len(counts.get((edge.get("index") or 0, True), ())),
                len(counts.get((edge.get("index") or 0, False), ())),
            )
            for edge in all_edges(self.run.graph)
            if edge["source"] == self.view.node
        ]

    # -- edge -------------------------------------------------------------------------

    @property
    def condition(self) -> str:
        """The condition of the edge as text."""
        return _condition(self.edge or {})

    @cached_property
    def _decisions(self) -> list[Decision]:
        if self.view.edge is None:
            return []
        source, place = self.view.edge
        rows = self.run.decisions.filter(from_node=source, edge_index=place)
        decisions = self.moment.rows(rows).select_related("decided_by")
        newest = decisions.order_by("-attempt", "-sequence")[: MAX_DECISIONS + 1]
        return redact_rows(self.run, newest)

    @property
    def decisions(self) -> list[Decision]:
        """The newest decisions on the edge, newest first."""
        return self._decisions[:MAX_DECISIONS]

    @property
    def is_cut(self) -> bool:
        """Whether there are earlier decisions."""
        return len(self._decisions) > MAX_DECISIONS


def _condition(edge: Mapping[str, Any]) -> str:
    predicate = edge.get("predicate") or ""
    if predicate in {"", "always"}:
        return ""
    return (
        predicate
        if predicate == "otherwise"
        else readable_name(predicate, capital=False)
    )
