"""Where a recorded state would go: the routes of a workflow, with other thresholds if wanted.

Edges are selected as in a run (`routing.py`), from a state as it was stored. Nothing is executed
but conditions, the migration of a state and the validators of its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from .author_code import call_contained
from .context import Emit
from .events import EventType
from .failures import Failure
from .frozen import FrozenDict, Json, equal
from .predicates import Edge
from .routing import select_edge
from .thresholds import PARAM, Place, replaced
from .workflow import Workflow

NO_EDGE: Final = "no edge"  # no condition is met: the run fails
END: Final = "end"  # no edge leaves the node: the run completes
NOTHING: Final[Mapping[Place, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RecordedState:
    """The state after a step, with what of its run its evaluation needs."""

    run_id: str
    sequence: int
    node: str  # that the step executed
    data: FrozenDict
    failure: (
        Mapping[str, Any] | None
    )  # if the step failed, and its failure route was taken
    fingerprint: str  # of the run
    params: Mapping[str, Any]  # of the run


@dataclass(frozen=True, slots=True)
class Selection:
    """The node that follows a state, and why."""

    target: str  # NO_EDGE or END if no node does
    reason: str = ""  # of the edge that was selected, else of the last one evaluated


class Routing:
    """The routes of a workflow, with some thresholds replaced."""

    def __init__(
        self, workflow: Workflow[Any], values: Mapping[Place, Any] = NOTHING
    ) -> None:
        """Rebuild the conditions that have one of the thresholds in `values`."""
        self.workflow = workflow
        self._params = {p[1:]: value for p, value in values.items() if p[0] == PARAM}
        graph = workflow.graph
        self._inner = graph.all_nodes.keys() - graph.nodes.keys()
        self._edges = {
            node: tuple(_with_values(edge, values) for edge in graph.edges_from(node))
            for node in graph.nodes
        }

    def has(self, node: str) -> bool:
        """Return whether a node of this name exists."""
        return node in self._edges

    def is_inner(self, node: str) -> bool:
        """Return whether a node is a step of a branch, or a part of another node."""
        return node in self._inner

    def fixed_target(self, node: str, *, has_failed: bool) -> str | None:
        """Return the target that follows any state, None if a condition decides."""
        edges = [e for e in self._edges[node] if e.on_failure is has_failed]
        if not edges:
            return NO_EDGE if has_failed else END
        return edges[0].target if edges[0].when is None else None

    def select(self, recorded: RecordedState) -> Selection:
        """Return what follows a state.

        Raises CheckpointMismatch, PredicateFailed, and any Exception of the author's code.
        """
        return call_contained(lambda: self._select(recorded))

    def _select(self, recorded: RecordedState) -> Selection:
        data = self.workflow.migrated(recorded.data, recorded.fingerprint)
        state = self.workflow.state_type.from_data(
            self._with_params(data, recorded.params) if self._params else data,
            run_id=recorded.run_id,
            checkpoint_node=recorded.node,
            sequence=recorded.sequence,
            failure=Failure.from_json(recorded.failure),
        )
        reasons: list[str] = []
        edge = select_edge(self._edges[recorded.node], state, _collecting(reasons))
        return Selection(
            NO_EDGE if edge is None else edge.target, reasons[-1] if reasons else ""
        )

    def _with_params(
        self, data: Mapping[str, Any], launched: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the data of a state with other params.

        They are in the field `params`, or in fields of their names: there only those that still
        have the value of the launch.
        """
        params = data.get("params")
        if "params" in self.workflow.state_type.fields():
            if not isinstance(params, Mapping):
                return data
            changed = {key: value for (key, _), value in self._params.items()}
            return {**data, "params": {**params, **changed}}
        given = {
            field: value
            for (key, name), value in self._params.items()
            if (field := name if name in data else key) in data
            and _is_launched(data[field], launched.get(key))
        }
        return {**data, **given}


def _is_launched(value: Json, launched: Any) -> bool:
    return equal(value, launched)


def _with_values(edge: Edge, values: Mapping[Place, Any]) -> Edge:
    if edge.when is None or not values:
        return edge
    return Edge(
        edge.source,
        edge.target,
        replaced(edge.when, values),
        edge.name,
        edge.on_failure,
    )


def _collecting(reasons: list[str]) -> Emit:
    def emit(event: Any, data: Mapping[str, Any]) -> None:
        if event == EventType.EDGE_EVALUATE:
            reasons.append(data["reason"])

    return emit
