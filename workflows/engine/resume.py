"""Going on from a checkpoint: where to, and when not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .checkpoints import CheckpointNotFound
from .context import Answer
from .errors import DefinitionError, PredicateFailed, ResumeError
from .events import EventType
from .routing import choose
from .state import State

if TYPE_CHECKING:
    from .runner import Runner

S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class How:
    """What an attempt is given that is not in the checkpoint."""

    enter: str | None  # the node that had paused
    answer: Answer | None  # to it
    secrets: Mapping[str, str]


async def resume(walk: Runner, run_id: str, state_type: type[S], how: How) -> S:
    """The state at the exit, walked to from the last checkpoint of a run.

    1. No store, no checkpoint, or one that does not fit: ResumeError, and nothing changes.
       Once the checkpoint is loaded, each refusal has its state.
    2. A checkpoint at an exit: the run had finished; its state, and nothing runs.
    3. The initial checkpoint: start at the entry point. Else evaluate the edges of its node again.
    4. `enter`: no edge is evaluated; that node runs at once and finds `answer`.
    """
    state = _load(walk, run_id, state_type)
    for name, secret in how.secrets.items():
        state = state.set_secret(name, secret)
    walk.tell(EventType.CHECKPOINT_LOAD, node=state.checkpoint_node, run_id=run_id)
    if walk.graph.is_exit(state.checkpoint_node):
        return state
    node = _next(walk, state) if how.enter is None else _entered(walk, state, how.enter)
    walk.tell(
        EventType.CHECKPOINT_RESUME,
        checkpoint_node=state.checkpoint_node,
        resume_node=node,
        run_id=run_id,
    )
    _must_be_valid(walk, state)
    return await walk.go_on(node, state, how.answer)


def _must_be_valid(walk: Runner, state: State) -> None:
    """Raises ResumeError, with the state, for a graph that nobody could walk."""
    try:
        walk.graph.validate()
    except DefinitionError as error:
        raise ResumeError(error.code, state.run_id, state=state) from error


def _load(walk: Runner, run_id: str, state_type: type[S]) -> S:
    store = walk.graph.checkpoints
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
        )
    except Exception as error:
        raise ResumeError("resume.mismatch", run_id) from error


def _next(walk: Runner, state: State) -> str:
    """Where the stored state goes, told like any decision."""
    node = state.checkpoint_node
    if not node:
        return walk.graph.entry
    edges = walk.graph.edges_from(node)
    if not edges:
        raise ResumeError("resume.dead_end", state.run_id, node=node, state=state)
    try:
        edge = choose(edges, state, walk.emit)
    except PredicateFailed as error:
        raise ResumeError(
            "resume.predicate_failed", state.run_id, node=node, state=state
        ) from error
    if edge is None:
        raise ResumeError("resume.no_transition", state.run_id, node=node, state=state)
    return edge.target


def _entered(walk: Runner, state: State, enter: str) -> str:
    if enter not in walk.graph.nodes:
        raise ResumeError("resume.unknown_node", state.run_id, node=enter, state=state)
    return enter
