"""Selection of the edge that a state follows."""

from __future__ import annotations

from collections.abc import Sequence

from .context import Emit
from .errors import PredicateFailed
from .events import EventType
from .predicates import Edge, Evaluation
from .state import State


def select_edge(edges: Sequence[Edge], state: State, emit: Emit | None) -> Edge | None:
    """Return the first edge whose condition is met, or None; emit every evaluation.

    For a state with a failure those are the edges of the failure route, else the others.
    Raises PredicateFailed if a predicate raises, after emitting that evaluation.
    """
    has_failed = state._failure is not None  # noqa: SLF001 - on the hot path
    for index, edge in enumerate(edges):
        if edge.on_failure is not has_failed:
            continue
        if emit is None:
            if edge.when is None or edge.evaluate(state).result:
                return edge
        elif _evaluate_and_emit(index, edge, state, emit):
            return edge
    return None


def _evaluate_and_emit(index: int, edge: Edge, state: State, emit: Emit) -> bool:
    try:
        evaluation = edge.evaluate(state)
    except PredicateFailed as error:
        _emit_evaluation(index, edge, state, error.evaluation, emit)
        raise
    _emit_evaluation(index, edge, state, evaluation, emit)
    return evaluation.result


def _emit_evaluation(
    index: int, edge: Edge, state: State, evaluation: Evaluation, emit: Emit
) -> None:
    emit(
        EventType.EDGE_EVALUATE,
        {
            "from": edge.source,
            "to": edge.target,
            "edge_index": index,
            "has_predicate": edge.when is not None,
            "predicate_name": evaluation.name,
            "predicate_result": evaluation.result,
            "reason": evaluation.reason,
            "values": evaluation.values,
            "sequence": state.sequence,
        },
    )
    if evaluation.result:
        name = edge.predicate_name if edge.name is None else edge.name
        emit(
            EventType.EDGE_TRANSITION,
            {
                "from": edge.source,
                "to": edge.target,
                "edge_index": index,
                "predicate_name": name,
                "predicate_result": True,
                "sequence": state.sequence,
            },
        )
