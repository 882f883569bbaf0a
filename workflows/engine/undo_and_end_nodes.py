"""The nodes that run after the end of a run was decided: its steps are undone, then it is closed.

The steps of the run are finished. A closing neither follows edges nor changes how the run ends.
Its nodes run one after another, each as a step of its own with retries and a timeout.

    undo      once for each completed step that has one, the newest first
    on_end    once, with the outcome of the run
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .author_code import call_contained
from .cancellation import Cancellation, Interruption
from .context import NodeContext
from .errors import Paused, RunError
from .events import EventType
from .node_results import NODE_ERRORS, failure_data, require_state, stamp
from .node_runner import NodeRunner
from .observers import make_emitter
from .outcomes import RunOutcome
from .persistence import Persistence

if TYPE_CHECKING:
    from .graph import Graph
    from .nodes import Node
    from .state import State

logger = logging.getLogger(__name__)

ON_END_SECONDS: Final = 300.0  # per try of an on_end node without a timeout of its own

Kind: TypeAlias = Literal["undo", "on_end"]


@dataclass(frozen=True, slots=True)
class StepToUndo:
    """A completed step, and the function that returns the state after it."""

    sequence: int
    node: str
    load: Callable[[], Awaitable[State]]


class WaitRefused(RunError):
    """The run is over, so the node cannot wait for anything."""


class Closing:
    """Runs the closing nodes of one run, in one attempt."""

    def __init__(
        self, graph: Graph, runtime: object, last: State, sequence: int
    ) -> None:
        """`last` is the last stored state; the first step here follows step `sequence`."""
        self._graph = graph
        self._runtime = runtime
        self._last = last
        self._sequence = sequence
        self._iteration = 0
        self._emit = make_emitter(graph.observer, graph.name, graph.clock)
        self._persistence = Persistence(graph.checkpoints, graph.config.checkpoint)

    def skip_step(self, node: str) -> None:
        """Count the step at which the run ended as done: the state stays as it was."""
        self._sequence += 1
        self._save(self._last, node)

    async def undo(self, step: StepToUndo) -> bool:
        """Undo a step; return whether that succeeded.

        What it records becomes durable before the next node starts, or with the end of the run.
        Either way the step is recorded as undone as far as it can be, and never undone again.
        """
        node = self._graph.undo[step.node]
        self._sequence += 1
        context = self._context(node)
        self._persistence.restore(context)
        after = await self._run(node, step.load, context, undoes=step.sequence)
        try:
            self._save(self._last if after is None else after, node.name)
        except (
            Exception
        ):  # such as a state that is too large: the step is undone all the same
            logger.exception("The state that “%s” returned was not stored.", node.name)
            self._save(self._last, node.name)
        return after is not None

    async def end(
        self, load: Callable[[], Awaitable[State]], outcome: RunOutcome
    ) -> bool:
        """Run the on_end node with the state that `load` returns; return whether it succeeded."""
        node = self._graph.on_end
        if node is None:
            return True
        if node.timeout is None:
            node = node.configured(None, ON_END_SECONDS)
        self._sequence += 1
        context = self._context(node)
        context.outcome = outcome
        return await self._run(node, load, context) is not None

    async def _run(
        self,
        node: Node[Any, Any],
        load: Callable[[], Awaitable[State]],
        context: NodeContext,
        **place: Any,
    ) -> State | None:
        """Return the result of a node, None if it failed."""
        kind: Kind = "undo" if place else "on_end"
        place = {"kind": kind, **place}
        unreadable: Exception | None = None
        before: State = self._last
        try:
            before = await load()
        except Exception as error:
            unreadable = error
        self._emit_node(
            EventType.NODE_START, context, input_snapshot=before.data, **place
        )
        await self._persistence.flush()
        try:
            if unreadable is not None:
                raise unreadable
            after = await self._result(node, before, context)
        except Paused:
            self._fail(context, WaitRefused(), before, place)
            return None
        except NODE_ERRORS as error:
            self._fail(context, error, before, place)
            return None
        self._emit_node(
            EventType.NODE_COMPLETE,
            context,
            error=False,
            output_snapshot=after.data,
            **place,
        )
        return stamp(after, before, context)

    async def _result(
        self, node: Node[Any, Any], before: State, context: NodeContext
    ) -> State:
        with Interruption(context.cancellation).subscribed() as interruption:
            runner = NodeRunner(self._runtime, context.cancellation, interruption)
            after = await runner.run(node, before, context)
        return call_contained(functools.partial(require_state, after, before))

    def _fail(
        self,
        context: NodeContext,
        error: BaseException,
        before: State,
        place: dict[str, Any],
    ) -> None:
        self._emit_node(
            EventType.NODE_COMPLETE,
            context,
            error=True,
            **failure_data(error, before),
            **place,
        )

    def _save(self, state: State, node: str) -> None:
        stamped = state.stamped(
            run_id=self._last.run_id,
            checkpoint_node=node,
            sequence=self._sequence,
            timestamp=self._graph.clock.now(),
        )
        self._persistence.save(stamped)
        self._last = stamped

    def _context(self, node: Node[Any, Any]) -> NodeContext:
        self._iteration += 1
        return NodeContext(
            run_id=self._last.run_id,
            node=node.name,
            sequence=self._sequence,
            iteration=self._iteration,
            cancellation=Cancellation(),  # that of the run has been followed already
            clock=self._graph.clock,
            emit=self._emit,
        )

    def _emit_node(self, event: str, context: NodeContext, **data: Any) -> None:
        if self._emit is not None:
            place = {"node": context.node, "iteration": context.iteration}
            self._emit(event, {**place, **data, "sequence": context.sequence})
