"""The steps and decisions of a run in memory, from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from workflows.engine.predicates.wording import explain

from .events import Event, EventType


@dataclass(slots=True)
class Stage:
    """One executed step."""

    node: str
    sequence: int
    iteration: int
    status: Literal["started", "completed", "failed", "cancelled", "waiting"] = (
        "started"
    )
    tries: int = 1
    kind: Literal["node", "undo", "on_end"] = "node"
    undoes: int | None = None  # sequence of the step that it undoes
    branch: str = ""  # of a branches node; "": outside of branches
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The evaluation of one edge."""

    source: str
    target: str
    index: int
    predicate: str
    result: bool
    reason: str
    values: Mapping[str, Any]
    sequence: int  # of the step it leaves

    @property
    def explanation(self) -> str:
        """Whether and why its condition was met; `unconditional` if it has none."""
        return (
            explain(self.predicate, self.reason, result=self.result) or "unconditional"
        )


def stages_of(events: list[Event]) -> list[Stage]:
    """Return the steps in order; one that paused appears again after its resume."""
    stages: list[Stage] = []
    running: dict[int, Stage] = {}  # by sequence: those of branches overlap
    for event in events:
        data = event.data
        if event.type == EventType.NODE_START:
            stage = Stage(
                data["node"],
                data["sequence"],
                data["iteration"],
                kind=data.get("kind", "node"),
                undoes=data.get("undoes"),
                branch=data.get("branch", ""),
                input=data["input_snapshot"],
            )
            running[stage.sequence] = stage
            stages.append(stage)
        elif event.type == EventType.NODE_RETRY and "item_index" not in data:
            running[data["sequence"]].tries = data["try"] + 1
        elif event.type == EventType.GRAPH_PAUSE:
            running[data["sequence"]].status = "waiting"
        elif event.type == EventType.NODE_COMPLETE:
            stage = running[data["sequence"]]
            stage.status = _final_status(data)
            stage.error = data.get("error_message", "")
            stage.output = data["output_snapshot"]
    # a branches node begins before its steps and has the number after them
    return sorted(stages, key=attrgetter("sequence"))


def _final_status(
    data: Mapping[str, Any],
) -> Literal["completed", "failed", "cancelled"]:
    if not data["error"]:
        return "completed"
    return "cancelled" if data["cancelled"] else "failed"


def decision_of(event: Event) -> Decision:
    """Return the decision of an `edge.evaluate` event."""
    data = event.data
    return Decision(
        source=data["from"],
        target=data["to"],
        index=data["edge_index"],
        predicate=data["predicate_name"],
        result=data["predicate_result"],
        reason=data["reason"],
        values=data["values"],
        sequence=data["sequence"],
    )
