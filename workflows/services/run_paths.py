"""The path of a run: the nodes that it executed in order, and the edges that it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workflows.engine.events import EventType
from workflows.engine.first_of import FIRST_EDGE
from workflows.models import StageKind, StageStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workflows.engine.testing import Outcome
    from workflows.models import Run

ENDED_STEPS: Final = (StageStatus.COMPLETED, StageStatus.FAILED)


@dataclass(frozen=True, slots=True)
class PathStep:
    """A step, and the node to which the run went after it."""

    sequence: int
    node: str
    target: str = ""  # "": no edge was taken, the run or the branch ended here


def recorded_path(run: Run) -> list[PathStep]:
    """Return the path of a run by its rows, of shared steps as well.

    A step that was interrupted and repeated counts once. Steps of branches that were cancelled
    do not count: that depends on how fast the others are.
    """
    stages = run.stages.filter(kind=StageKind.NODE, status__in=ENDED_STEPS)
    nodes = dict(stages.order_by("attempt").values_list("sequence", "node_name"))
    taken = run.decisions.filter(taken=True, edge_index__lt=FIRST_EDGE)
    edges = taken.values_list("attempt", "sequence", "to_node")
    return _path(nodes, edges)


def path_in_memory(outcome: Outcome[Any]) -> list[PathStep]:
    """Return the path of a run in memory."""
    nodes = {
        one.sequence: one.node
        for one in outcome.stages
        if one.kind == "node" and one.status in ENDED_STEPS
    }
    transitions = [
        event.data
        for event in outcome.events
        if event.type == EventType.EDGE_TRANSITION
        and event.data["edge_index"] < FIRST_EDGE
    ]
    return _path(nodes, [(1, one["sequence"], one["to"]) for one in transitions])


def _path(
    nodes: Mapping[int, str], edges: Iterable[tuple[int, int, str]]
) -> list[PathStep]:
    """Return the steps with the targets of the edges that their last attempt took."""
    last: dict[int, tuple[int, set[str]]] = {}
    for attempt, sequence, target in edges:
        known, targets = last.get(sequence, (attempt, set()))
        if attempt >= known:
            kept = targets if attempt == known else set()
            last[sequence] = attempt, kept | {target}
    return [
        PathStep(sequence, node, ", ".join(sorted(last.get(sequence, (0, ()))[1])))
        for sequence, node in sorted(nodes.items())
    ]


def text_of(path: Sequence[PathStep]) -> str:
    """Return the nodes of a path in one line."""
    return " → ".join(step.node for step in path)
