"""One attempt at a run: the walk from a node to an exit, told step by step.

All of it happens in the caller's asyncio task. A step that was told as complete was saved before
anything else began.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import uuid4

from .cancellation import Cancellation, Interruption
from .checkpoints import ChecksPauses, FlushingStore, ItemStore, KeepsTries
from .containment import call_contained
from .context import Answer, Emit, NodeContext
from .errors import (
    Cancelled,
    DeadlinePassed,
    ExecutionError,
    Paused,
    PredicateFailed,
    caused_by,
    describe,
)
from .events import Event, EventType
from .nodes import Failed, Node
from .observers import NoOpObserver, notify
from .retries import run_with_tries
from .routing import choose
from .state import State

if TYPE_CHECKING:
    from .graph import Graph

S = TypeVar("S", bound=State)

logger = logging.getLogger(__name__)

# What ends a node and no more than the node; all else that author code raises is contained.
NODE_ERRORS = (Exception, Cancelled, DeadlinePassed)


class Runner:
    """One attempt: its counters, its path, and the places where everything is told."""

    def __init__(
        self,
        graph: Graph,
        runtime: object,
        cancellation: Cancellation | None,
        deadline: float | None,
    ) -> None:
        self.graph = graph
        self.emit = _emitter(graph)
        self._runtime = runtime
        self._asked = cancellation or Cancellation()
        self._seconds = deadline
        self._due: float | None = None  # on the graph's monotonic clock
        self._store = graph.checkpoints
        self._interval = graph.config.checkpoint.interval
        store: Any = self._store
        able = _abilities(type(store))
        self._settles: FlushingStore | None = store if FlushingStore in able else None
        self._checks: ChecksPauses | None = store if ChecksPauses in able else None
        self._tries: KeepsTries | None = store if KeepsTries in able else None
        keeps = ItemStore in able and self._interval
        self._keeps: ItemStore | None = store if keeps else None
        self._saved = -1  # sequence of the newest checkpoint of this attempt
        self._iterations = 0
        self._visits: dict[str, int] = {}
        self._path: list[str] = []

    async def start(self, state: S) -> S:
        """Walk from the entry point; the state at the exit."""
        self.graph.validate()
        run_id = state.run_id or str(uuid4())
        state = state.stamped(run_id=run_id, timestamp=self.graph.clock.now())
        return await self._go(self.graph.entry, state, None)

    async def go_on(self, node: str, state: S, answer: Answer | None) -> S:
        """Walk on from a stored state, at this node."""
        self.graph.validate()
        self._saved = state.sequence
        return await self._go(node, state, answer)

    async def _go(self, node: str, state: S, answer: Answer | None) -> S:
        self.tell(
            EventType.GRAPH_START,
            entry_point=self.graph.entry,
            run_id=state.run_id,
            exit_points=len(self.graph.exits),
        )
        with (
            self._asked.child() as self._stop,
            self._deadline(),
            Interruption(self._stop).listening() as self._interruption,
        ):
            try:
                return await self._steps(node, state, answer)
            except ExecutionError as error:
                await self._emit_failure(error, state)
                raise

    async def _steps(self, node: str, state: S, answer: Answer | None) -> S:
        """The state at the exit.

        1. Stop when asked to or at the limit; the node that was next is not in the path then.
        2. Run the node, save, leave by the first edge that holds; end at an exit.
        3. Whatever fails raises ExecutionError with the state that is safe to go on from.
        """
        if self._interval and self._saved < 0:
            self._save(node, state)
        while True:
            self._raise_if_cancelled(node, state)
            self._count(node, state)
            state = await self._step(node, state, answer)
            answer = None
            if self._interval and self._iterations % self._interval == 0:
                self._save(node, state)
                self.tell(EventType.CHECKPOINT_SAVE, node=node, run_id=state.run_id)
            if self.graph.is_exit(node):
                return await self._complete(node, state)
            node = self._leave(node, state)

    def _raise_if_cancelled(self, node: str, state: State) -> None:
        if self._interruption.stopped_from_outside:
            raise asyncio.CancelledError  # a node swallowed it, but it was meant for the task
        if self._due is not None and self.graph.clock.monotonic() >= self._due:
            self._stop.expire()
        if self._stop.cancelled:
            code = "deadline" if self._stop.expired else "cancelled"
            self._fail(code, node, state, self._stop.error())

    def _count(self, node: str, state: State) -> None:
        self._iterations += 1
        limit = self.graph.config.max_iterations
        if self._iterations > limit:
            self._fail("max_iterations", node, state, limit=limit)
        self._path.append(node)
        visits = self._visits[node] = self._visits.get(node, 0) + 1
        if visits > 1:
            self.tell(
                EventType.CYCLE_DETECTED,
                node=node,
                visit_count=visits,
                iteration=self._iterations,
                path_length=len(self._path),
            )

    async def _step(self, name: str, before: S, answer: Answer | None) -> S:
        context = self._context(name, before, answer)
        self._emit_node(EventType.NODE_START, context, input_snapshot=before.data)
        if self._settles is not None:
            await self._settle(name, before)
        try:
            after = await self._outcome(name, before, context)
        except Paused as pause:
            await self._pause(pause, context, before)
            raise
        except NODE_ERRORS as error:
            self._emit_node(
                EventType.NODE_COMPLETE, context, error=True, **_trace(error, before)
            )
            # a copy: what the node changed in place in values it read is not in it
            self._fail("node_failed", name, before.clone(), error)
        self._emit_node(
            EventType.NODE_COMPLETE, context, error=False, output_snapshot=after.data
        )
        return self._stamped(after, before, context)

    async def _outcome(self, name: str, before: S, context: NodeContext) -> S:
        """What the node returns, or its pause, if the run may wait for that."""
        try:
            after = await self._run(self.graph.nodes[name], before, context)
        except Paused as pause:
            pause.node, pause.sequence = context.node, context.sequence
            if self._checks is not None:
                await self._checks.check_pause(pause)
            raise
        return call_contained(functools.partial(_checked, after, before))

    async def _run(self, node: Node[S, S], before: S, context: NodeContext) -> S:
        """What the node returns. Raises what it raises, and why it was stopped."""
        try:
            # in a task of its own: see cancellation.py
            after = await asyncio.create_task(self._tried(node, before, context))
        except BaseException as error:
            interrupted = self._interruption.close()
            if isinstance(error, Exception | asyncio.CancelledError):
                self._explain(error, interrupted=interrupted)
            raise
        self._interruption.close()
        return after

    async def _tried(self, node: Node[S, S], before: S, context: NodeContext) -> S:
        self._interruption.open()
        return await run_with_tries(node, before, self._runtime, context)

    def _explain(self, error: BaseException, *, interrupted: bool) -> None:
        """Raises what a node's error stands for, where it does not speak for itself."""
        by_asyncio = isinstance(error, asyncio.CancelledError)
        if self._interruption.stopped_from_outside:
            if not by_asyncio:
                raise asyncio.CancelledError from error
        elif interrupted:
            raise self._stop.error() from error
        elif by_asyncio:
            raise RuntimeError(
                "something that the node awaited was cancelled"
            ) from error

    def _context(self, name: str, before: State, answer: Answer | None) -> NodeContext:
        context = NodeContext(
            run_id=before.run_id,
            node=name,
            sequence=before.sequence + 1,
            iteration=self._iterations,
            cancellation=self._stop,
            clock=self.graph.clock,
            answer=answer,
            emit=self.emit,
            check_child=self.graph.check_child,
        )
        if self._keeps is not None:
            place = (before.run_id, context.sequence)
            context.keep_item = functools.partial(self._keeps.keep_item, *place)
            context.kept_items = functools.partial(self._keeps.kept_items, *place)
        if self._tries is not None:
            made, wait = self._tries.kept_tries(before.run_id, context.sequence)
            context.try_number, context.try_after = made + 1, wait
        return context

    def _stamped(self, after: S, before: S, context: NodeContext) -> S:
        """The new state with the run's own marks: no node moves a run or loses its secrets."""
        if after.run_id != before.run_id:
            for name, value in before.secrets.items():
                if name not in after.secrets:
                    after = after.set_secret(name, value)
        return after.stamped(
            run_id=before.run_id,
            checkpoint_node=context.node,
            sequence=context.sequence,
            timestamp=self.graph.clock.now(),
        )

    def _leave(self, name: str, state: State) -> str:
        """The node the state goes to, told edge by edge."""
        edges = self.graph.edges_from(name)
        if not edges:
            self._fail("dead_end", name, state)
        try:
            edge = choose(edges, state, self.emit)
        except PredicateFailed as error:
            self._fail("predicate_failed", name, state, error)
        if edge is None:
            self._fail("no_transition", name, state)
        return edge.target

    def _save(self, name: str, state: State) -> None:
        if self._store is None:
            return
        try:
            self._store.save(state)
        except Exception as error:
            self._fail("checkpoint_save_failed", name, state, error)
        self._saved = state.sequence

    async def _settle(self, name: str, state: State) -> None:
        """Wait until everything so far is durable. Raises ExecutionError when it cannot be."""
        if self._settles is None:
            return
        try:
            await self._settles.settle()
        except Exception as error:
            self._fail("checkpoint_save_failed", name, state, error)

    async def _pause(self, pause: Paused, context: NodeContext, before: State) -> None:
        """Leave the run as it was before the node, so that an answer finds it there."""
        if self._interval and self._saved != before.sequence:
            self._save(context.node, before)
        pause.state = before.clone()
        self._emit_node(
            EventType.GRAPH_PAUSE, context, kind=pause.kind, question=pause.question
        )
        await self._settle(context.node, before)

    async def _complete(self, name: str, state: S) -> S:
        self.tell(
            EventType.GRAPH_COMPLETE,
            exit_point=name,
            iterations=self._iterations,
            path_length=len(self._path),
        )
        await self._settle(name, state)
        if self._interval and self._store and not self.graph.config.checkpoint.preserve:
            try:
                self._store.delete(state.run_id)
            except Exception:
                logger.exception(
                    "The checkpoints of run %s could not be deleted", state.run_id
                )
        return state

    async def _emit_failure(self, error: ExecutionError, state: State) -> None:
        self.tell(
            EventType.GRAPH_ERROR,
            node=error.node,
            path=list(error.path),
            code=error.code,
            message=str(error),
        )
        try:
            await self._settle(error.node, error.state or state)
        except ExecutionError as unsettled:
            unsettled.add_note(
                f"This happened while recording another failure: {error}"
            )
            raise

    def _fail(
        self,
        code: str,
        node: str,
        state: State,
        cause: BaseException | None = None,
        **facts: Any,
    ) -> NoReturn:
        raise ExecutionError(
            code, node=node, path=tuple(self._path), state=state, **facts
        ) from cause

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        """Within, the run is interrupted when its time is up."""
        if self._seconds is None:
            yield
            return
        self._due = self.graph.clock.monotonic() + self._seconds
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(self._seconds, 0), self._stop.expire)
        try:
            yield
        finally:
            timer.cancel()

    def _emit_node(self, event: str, context: NodeContext, **data: Any) -> None:
        if self.emit is not None:
            place = {"node": context.node, "iteration": context.iteration}
            self.emit(event, place | data | {"sequence": context.sequence})

    def tell(self, event: str, **data: Any) -> None:
        """Emit an event, when anyone listens."""
        if self.emit is not None:
            self.emit(event, data)


_ABILITIES: dict[type, frozenset[type]] = {}


def _abilities(store: type) -> frozenset[type]:
    """What a store can do beyond its protocol.

    Remembered by type: to look through a protocol takes longer than a step.
    """
    if store not in _ABILITIES:
        known = (FlushingStore, ItemStore, KeepsTries, ChecksPauses)
        _ABILITIES[store] = frozenset(one for one in known if issubclass(store, one))
    return _ABILITIES[store]


def _emitter(graph: Graph) -> Emit | None:
    """What tells the run's events; None when no one listens, so that none is built."""
    observer, clock, source = graph.observer, graph.clock, graph.name
    if isinstance(observer, NoOpObserver):
        return None

    def emit(event: str, data: dict[str, Any]) -> None:
        notify(observer, Event(event, clock.now(), source, data))

    return emit


def _checked(after: object, before: S) -> S:
    """What a node returned, if it is a state of the run's class. Raises TypeError."""
    if isinstance(after, type(before)):
        return after
    wanted = type(before).__name__
    raise TypeError(
        f"It returned {type(after).__name__}, and a node of this run returns a {wanted}: "
        "end it with `return state…`."
    )


def _trace(error: BaseException, before: State) -> dict[str, Any]:
    """How a failed node shows: its error, and the state it got to if it told one."""
    told = next(
        (each for each in (error, error.__cause__) if isinstance(each, Failed)), None
    )
    output = told.output if told else before
    return {
        "cancelled": isinstance(error, Cancelled) or caused_by(error, Cancelled),
        "error_message": describe(error),
        "output_snapshot": None if output is None else output.data,
    }
