"""Resuming a run from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .checkpoints import CheckpointNotFound
from .context import Answer
from .errors import DefinitionError, PredicateFailed, ResumeError
from .events import EventType
from .routing import select_edge
from .state import State

if TYPE_CHECKING:
    from .runner import Runner

S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """Input of an attempt that is not in the checkpoint."""

    enter: str | None  # the node that had paused
    answer: Answer | None  # to it
    secrets: Mapping[str, str]


async def resume(
    runner: Runner, run_id: str, state_type: type[S], options: ResumeOptions
) -> S:
    """Continue a run from its last checkpoint and return the state at the exit.

    1. No store, no checkpoint, or one that does not fit: ResumeError, without side effects.
       Once the checkpoint is loaded, the error has its state.
    2. A checkpoint at an exit: the run is complete; return its state without running anything.
    3. The initial checkpoint: start at the entry point. Else evaluate the edges of its node again,
       those of the failure route if its step had failed.
    4. `enter`: evaluate no edge; run that node with `answer` in its context.
    """
    state = _load_state(runner, run_id, state_type)
    for name, secret in options.secrets.items():
        state = state.set_secret(name, secret)
    runner.emit_event(
        EventType.CHECKPOINT_LOAD, node=state.checkpoint_node, run_id=run_id
    )
    if runner.graph.is_exit(state.checkpoint_node) and state.step_failure is None:
        return state
    node = (
        _next_node(runner, state)
        if options.enter is None
        else _node_to_enter(runner, state, options.enter)
    )
    runner.emit_event(
        EventType.CHECKPOINT_RESUME,
        checkpoint_node=state.checkpoint_node,
        resume_node=node,
        run_id=run_id,
    )
    _check_graph(runner, state)
    return await runner.continue_from(node, state, options.answer)


def _check_graph(runner: Runner, state: State) -> None:
    """Raise ResumeError, with the state, for an incomplete graph."""
    try:
        runner.graph.validate()
    except DefinitionError as error:
        raise ResumeError(error.code, state.run_id, state=state) from error


def _load_state(runner: Runner, run_id: str, state_type: type[S]) -> S:
    store = runner.graph.checkpoints
    if store is None:
        raise ResumeError("resume.disabled", run_id)
    try:
        state = store.load(run_id)
    except CheckpointNotFound as error:
        raise ResumeError("resume.not_found", run_id) from error
    except Exception as error:
        raise ResumeError("resume.load_failed", run_id) from error
    return _typed(state, run_id, state_type)


def _typed(state: State, run_id: str, state_type: type[S]) -> S:
    if isinstance(state, state_type):
        return state
    try:
        return state_type.from_data(
            state.data,
            run_id=state.run_id,
            checkpoint_node=state.checkpoint_node,
            sequence=state.sequence,
            timestamp=state.timestamp,
            secrets=state.secrets,
            failure=state.step_failure,
        )
    except Exception as error:
        raise ResumeError("resume.mismatch", run_id) from error


def _next_node(runner: Runner, state: State) -> str:
    """Return the node that follows the stored state; emit the decision."""
    node = state.checkpoint_node
    if not node:
        return runner.graph.entry
    edges = runner.graph.edges_from(node)
    if not edges and state.step_failure is None:
        raise ResumeError("resume.dead_end", state.run_id, node=node, state=state)
    try:
        edge = select_edge(edges, state, runner.emit)
    except PredicateFailed as error:
        raise ResumeError(
            "resume.predicate_failed", state.run_id, node=node, state=state
        ) from error
    if edge is None:
        raise ResumeError("resume.no_transition", state.run_id, node=node, state=state)
    return edge.target


def _node_to_enter(runner: Runner, state: State, enter: str) -> str:
    if enter not in runner.graph.nodes:
        raise ResumeError("resume.unknown_node", state.run_id, node=enter, state=state)
    return enter
