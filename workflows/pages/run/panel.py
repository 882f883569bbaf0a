"""What is told of the step or link that somebody chose in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from workflows.models import Decision, StageStatus
from workflows.pages.graph.diagram import KINDS
from workflows.pages.redaction import redact_rows
from workflows.pages.render.text import in_words
from workflows.pages.run.baselines import usual_ms
from workflows.pages.run.steps import Step, add_durations, together

if TYPE_CHECKING:
    from workflows.models import Run
    from workflows.pages.run.durations import CallUsage
    from workflows.pages.run.point_in_time import Moment
    from workflows.pages.run.view import RunView

VISITS = 10  # newest ones that are told of a step
DECISIONS = 15  # newest ones that are told of a link
MAX_DURATIONS = 1_000  # newest visits of which durations are told


@dataclass(frozen=True, slots=True)
class Exit:
    """A link that leaves the chosen step, and how often it was taken and rejected."""

    target: str
    condition: str
    edge: str  # as a query names it
    taken: int
    rejected: int


class Panel:
    """The chosen step or link, at a moment of a run."""

    def __init__(
        self,
        run: Run,
        view: RunView,
        moment: Moment,
        spent: Callable[[], Mapping[int, CallUsage]] = dict,
    ) -> None:
        """Take the run and what was chosen; `spent` gives the durations of its stages."""
        self.run, self.view, self.moment, self._spent = run, view, moment, spent

    @cached_property
    def node(self) -> Mapping[str, Any] | None:
        """The chosen step of the graph."""
        nodes = self.run.graph.get("nodes") or ()
        return next((one for one in nodes if one["name"] == self.view.node), None)

    @cached_property
    def edge(self) -> Mapping[str, Any] | None:
        """The chosen link of the graph."""
        if self.view.edge is None:
            return None
        source, place = self.view.edge
        for one in self.run.graph.get("edges") or ():
            if one["source"] == source and (one.get("index") or 0) == place:
                found: Mapping[str, Any] = one
                return found
        return None

    @property
    def is_open(self) -> bool:
        """Tell whether something was chosen that the graph has."""
        return bool(self.node or self.edge)

    @property
    def kind(self) -> str:
        """What kind of step it is, in words."""
        return KINDS.get((self.node or {}).get("kind", ""), "")

    # -- of a step ----------------------------------------------------------------------

    @cached_property
    def visits(self) -> list[Step]:
        """The newest visits of the step, newest first."""
        stages = self.moment.rows(self.run.stages.filter(node_name=self.view.node))
        newest = list(stages.order_by("-attempt", "-sequence")[:VISITS])
        sequences = [stage.sequence for stage in newest]
        decisions = self.moment.rows(self.run.decisions.filter(sequence__in=sequences))
        retries = self.moment.rows(self.run.retries.filter(sequence__in=sequences))
        steps = together(
            self.run, newest, decisions.select_related("decided_by"), retries
        )
        add_durations(steps, self._spent())
        return [step for step in steps if step.stage is not None][::-1]

    @property
    def has_waits(self) -> bool:
        """Tell whether a visit waited: its durations are then told with its waits."""
        return any(step.spent and step.spent.has_waits for step in self.visits)

    @cached_property
    def _durations(self) -> tuple[int, list[float]]:
        stages = self.moment.rows(self.run.stages.filter(node_name=self.view.node))
        count = stages.values("sequence").distinct().count()
        completed = stages.filter(status=StageStatus.COMPLETED, duration_ms__gte=0)
        newest = completed.order_by("-pk").values_list("duration_ms", flat=True)
        return count, [ms for ms in newest[:MAX_DURATIONS] if ms is not None]

    @property
    def count(self) -> int:
        """How often the run came by."""
        return self._durations[0]

    @property
    def middle_ms(self) -> float | None:
        """How long a visit of this run took, in the middle."""
        return median(self._durations[1]) if self._durations[1] else None

    @cached_property
    def usual(self) -> float | None:
        """How long a visit usually takes, in milliseconds."""
        return usual_ms(self.run).get(self.view.node)

    @cached_property
    def exits(self) -> Sequence[Exit]:
        """The links that leave the step."""
        rows = self.moment.rows(self.run.decisions.filter(from_node=self.view.node))
        counts: dict[tuple[int, bool], set[int]] = {}
        for index, taken, step in rows.values_list("edge_index", "taken", "sequence"):
            counts.setdefault((index, taken), set()).add(step)
        return [
            Exit(
                edge["target"],
                _condition(edge),
                f"{edge['source']}.{edge.get('index') or 0}",
                len(counts.get((edge.get("index") or 0, True), ())),
                len(counts.get((edge.get("index") or 0, False), ())),
            )
            for edge in self.run.graph.get("edges") or ()
            if edge["source"] == self.view.node
        ]

    # -- of a link ----------------------------------------------------------------------

    @property
    def condition(self) -> str:
        """When the link is taken, in words."""
        return _condition(self.edge or {})

    @cached_property
    def _decisions(self) -> list[Decision]:
        if self.view.edge is None:
            return []
        source, place = self.view.edge
        rows = self.run.decisions.filter(from_node=source, edge_index=place)
        made = self.moment.rows(rows).select_related("decided_by")
        newest = made.order_by("-attempt", "-sequence")[: DECISIONS + 1]
        return redact_rows(self.run, newest)

    @property
    def decisions(self) -> list[Decision]:
        """The newest decisions on the link, newest first."""
        return self._decisions[:DECISIONS]

    @property
    def is_cut(self) -> bool:
        """Tell whether there are earlier decisions."""
        return len(self._decisions) > DECISIONS


def _condition(edge: Mapping[str, Any]) -> str:
    named = edge.get("predicate") or ""
    if named in {"", "always"}:
        return ""
    return named if named == "otherwise" else in_words(named, capital=False)
