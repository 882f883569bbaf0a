"""One attempt at a run: the nodes from the entry point, or a checkpoint, to an exit.

Everything happens in the caller's asyncio task, except for the nodes. The event that reports a
step as complete is emitted after its checkpoint was saved and before anything else starts.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import uuid4

from .author_code import call_contained
from .branch_steps import Branches, StepNotStored
from .cancellation import Cancellation, Interruption
from .context import Answer, NodeContext
from .errors import (
    ExecutionError,
    Paused,
    PredicateFailed,
)
from .events import EventType
from .failure_questions import FailureQuestion, GivenUp
from .failures import Failure
from .node_results import (
    NODE_ERRORS,
    failure_data,
    is_cancellation,
    require_state,
    stamp,
)
from .node_runner import NodeRunner
from .observers import make_emitter
from .patterns.branches import BranchesNode
from .persistence import Persistence
from .routing import select_edge
from .state import State

if TYPE_CHECKING:
    from .graph import Graph

S = TypeVar("S", bound=State)


class _DeadlineRouted(Exception):
    """A failure route took the end of a node by the deadline, which is thereby over."""

    def __init__(self, node: str, state: Any) -> None:
        super().__init__(node)
        self.node = node  # that follows
        self.state = state


class Runner:
    """One attempt: its counters, its path and its events."""

    def __init__(
        self,
        graph: Graph,
        runtime: object,
        cancellation: Cancellation | None,
        deadline: float | None,
    ) -> None:
        self.graph = graph
        self.emit = make_emitter(graph.observer, graph.name, graph.clock)
        self._runtime = runtime
        self._cancellation = cancellation or Cancellation()
        self._deadline_seconds = deadline
        self._deadline_at: float | None = None  # on the graph's monotonic clock
        self._persistence = Persistence(graph.checkpoints, graph.config.checkpoint)
        self._iterations = 0
        self._executions: dict[str, int] = {}
        self._path: list[str] = []
        self._failure_target = ""  # of the step that failed last

    async def start(self, state: S) -> S:
        """Run from the entry point and return the state at the exit."""
        self.graph.validate()
        run_id = state.run_id or str(uuid4())
        state = state.stamped(run_id=run_id, timestamp=self.graph.clock.now())
        return await self._run_to_exit(self.graph.entry, state, None)

    async def continue_from(self, node: str, state: S, answer: Answer | None) -> S:
        """Run from a node with a stored state and return the state at the exit."""
        self.graph.validate()
        self._persistence.continue_after(state)
        return await self._run_to_exit(node, state, answer)

    async def _run_to_exit(self, node: str, state: S, answer: Answer | None) -> S:
        self.emit_event(
            EventType.GRAPH_START,
            entry_point=self.graph.entry,
            run_id=state.run_id,
            exit_points=len(self.graph.exits),
        )
        if self._deadline_seconds is not None:
            self._deadline_at = self.graph.clock.monotonic() + self._deadline_seconds
        try:
            return await self._run_until_deadline(node, state, answer)
        except _DeadlineRouted as routed:
            self._deadline_seconds = self._deadline_at = None
            after: S = routed.state
            return await self._run_until_deadline(routed.node, after, None)

    async def _run_until_deadline(
        self, node: str, state: S, answer: Answer | None
    ) -> S:
        """Return the state at the exit. Raises _DeadlineRouted where the deadline was routed."""
        with (
            self._cancellation.child() as self._stop,
            self._stop.expiring(self._deadline_seconds),
            Interruption(self._stop).subscribed() as self._interruption,
        ):
            self._node_runner = NodeRunner(
                self._runtime, self._stop, self._interruption
            )
            try:
                return await self._run_steps(node, state, answer)
            except ExecutionError as error:
                await self._emit_failure(error, state)
                raise

    async def _run_steps(self, node: str, state: S, answer: Answer | None) -> S:
        """Return the state at the exit.

        1. Stop on a cancellation or at the limit of steps; the path then ends before the next node.
        2. Run the node, save, follow the first edge that matches; end at an exit.
        3. A failure that the node's failure route takes is followed like a result.
        4. Any other raises ExecutionError with the state from which the run can continue.
        """
        if self._persistence.needs_initial_save:
            self._save(node, state)
        while True:
            self._raise_if_cancelled(node, state)
            self._count_step(node, state)
            before, state = state, await self._run_node(node, state, answer)
            answer = None
            if self._persistence.is_due(self._iterations):
                if state.sequence > before.sequence + 1:
                    self._save_branches(node, before)
                self._save(node, state)
                self.emit_event(
                    EventType.CHECKPOINT_SAVE, node=node, run_id=state.run_id
                )
            failure = state._failure  # noqa: SLF001 - on the hot path
            if failure is not None:
                node = self._node_after_failure(node, state, failure)
                continue
            if self.graph.is_exit(node):
                return await self._complete(node, state)
            node = self._next_node(node, state)

    def _node_after_failure(self, node: str, state: State, failure: Failure) -> str:
        """Return the node on the failure route, or the one that a person chose.

        Raises _DeadlineRouted where the route took the end of a node by the deadline.
        """
        if failure.chosen:
            return self._next_node(node, state)
        if failure.is_deadline:
            raise _DeadlineRouted(self._failure_target, state)
        return self._failure_target

    def _raise_if_cancelled(self, node: str, state: State) -> None:
        if self._interruption.cancelled_externally:
            raise asyncio.CancelledError  # of the task itself; a node swallowed it
        if (
            self._deadline_at is not None
            and self.graph.clock.monotonic() >= self._deadline_at
        ):
            self._stop.expire()
        if self._stop.cancelled:
            if self._stop.expired and self.graph.has_failure_route(node):
                return  # the node fails before its code starts
            code = "deadline" if self._stop.expired else "cancelled"
            self._fail(code, node, state, self._stop.error())

    def _count_step(self, node: str, state: State) -> None:
        self._iterations += 1
        limit = self.graph.config.max_iterations
        if self._iterations > limit:
            self._fail("max_iterations", node, state, limit=limit)
        self._path.append(node)
        executions = self._executions[node] = self._executions.get(node, 0) + 1
        if executions > 1:
            self.emit_event(
                EventType.CYCLE_DETECTED,
                node=node,
                visit_count=executions,
                iteration=self._iterations,
                path_length=len(self._path),
            )

    async def _run_node(self, name: str, before: S, answer: Answer | None) -> S:
        steps = self.graph.nodes[name].steps_before
        context = self._node_context(name, before, answer, steps)
        if self.emit is not None:
            more = {"steps": steps} if steps else {}
            self._emit_node(
                EventType.NODE_START, context, input_snapshot=before.data, **more
            )
        if self._persistence.flushes:
            await self._flush(name, before)
        try:
            after = await self._node_result(name, before, context)
        except Paused as pause:
            await self._pause(pause, context, before)
            raise
        except StepNotStored as error:
            self._fail("checkpoint_save_failed", name, before, error.__cause__)
        except NODE_ERRORS as error:
            self._emit_node(
                EventType.NODE_COMPLETE,
                context,
                error=True,
                **failure_data(error, before),
            )
            # a copy: without in-place changes that the node made to values it read
            before = before.clone()
            failed = self._routed_failure(before, context, error)
            if failed is None:
                where = error.failure.node if isinstance(error, GivenUp) else name
                self._fail("node_failed", where, before, error)
            return failed
        if self.emit is not None:
            snapshot = after.data
            self._emit_node(
                EventType.NODE_COMPLETE, context, error=False, output_snapshot=snapshot
            )
        stamped = stamp(after, before, context)
        failure = after._failure  # noqa: SLF001 - on the hot path
        return stamped if failure is None else self._with_choice(name, stamped, failure)

    def _with_choice(self, name: str, stamped: S, failure: Failure) -> S:
        """Keep what a person chose about a failed step, which its edges depend on."""
        if not isinstance(self.graph.nodes[name], FailureQuestion):
            return stamped
        if failure.chosen == "skip" and self.graph.is_exit(name):
            return stamped  # the run ends here
        return stamped.stamped(failure=failure)

    async def _node_result(self, name: str, before: S, context: NodeContext) -> S:
        """Return the node's result, or raise its pause if the run may wait for it."""
        if self._deadline_at is not None and self._stop.expired:
            raise self._stop.error()
        node = self.graph.nodes[name]
        after: object
        try:
            if isinstance(node, BranchesNode):
                branches = Branches(
                    node, before, self._runtime, context, self._persistence
                )
                after = await branches.run()
            else:
                after = await self._node_runner.run(node, before, context)
        except Paused as pause:
            pause.node, pause.sequence = context.node, context.sequence
            await self._persistence.check_pause(pause)
            raise
        return call_contained(functools.partial(require_state, after, before))

    def _routed_failure(
        self, before: S, context: NodeContext, error: BaseException
    ) -> S | None:
        """Return the state after a failed node whose failure route takes the error, or None."""
        name = context.node
        if not self.graph.has_failure_route(name) or is_cancellation(error):
            return None
        if isinstance(self.graph.nodes[name], FailureQuestion):
            return None
        now, tries = context.clock.now(), context.last_try or context.try_number
        failed = before.stamped(
            checkpoint_node=name,
            sequence=context.sequence,
            timestamp=now,
            failure=Failure.of(error, name, tries, now),
        )
        try:
            edge = select_edge(self.graph.edges_from(name), failed, self.emit)
        except PredicateFailed as predicate_error:
            self._fail("predicate_failed", name, before, predicate_error)
        if edge is None:
            return None
        self._failure_target = edge.target
        return failed

    def _node_context(
        self, name: str, before: State, answer: Answer | None, steps: int
    ) -> NodeContext:
        context = NodeContext(
            run_id=before.run_id,
            node=name,
            sequence=before.sequence + 1 + steps,
            iteration=self._iterations,
            cancellation=self._stop,
            clock=self.graph.clock,
            answer=answer,
            emit=self.emit,
            check_child=self.graph.check_child,
            launcher=self.graph.launcher,
        )
        self._persistence.restore(context)
        return context

    def _next_node(self, name: str, state: State) -> str:
        edges = self.graph.edges_from(name)
        try:
            edge = select_edge(edges, state, self.emit)
        except PredicateFailed as error:
            self._fail("predicate_failed", name, state, error)
        if edge is None:
            has_failed = state.step_failure is not None
            is_end = not has_failed and all(edge.on_failure for edge in edges)
            self._fail("dead_end" if is_end else "no_transition", name, state)
        return edge.target

    def _save(self, name: str, state: State) -> None:
        try:
            self._persistence.save(state)
        except Exception as error:
            self._fail("checkpoint_save_failed", name, state, error)

    def _save_branches(self, name: str, before: State) -> None:
        """Save the state before a split for each step of its branches: they leave it as it was.

        A stored step follows directly on the one before it, and the join changes the state.
        """
        node = self.graph.nodes[name]
        if isinstance(node, BranchesNode):
            for step in node.steps:
                sequence = before.sequence + 1 + step.index
                same = before.stamped(checkpoint_node=step.node.name, sequence=sequence)
                self._save(name, same)

    async def _flush(self, name: str, state: State) -> None:
        """Wait until everything so far is durable. Raises ExecutionError if it cannot be."""
        try:
            await self._persistence.flush()
        except Exception as error:
            self._fail("checkpoint_save_failed", name, state, error)

    async def _pause(self, pause: Paused, context: NodeContext, before: State) -> None:
        """Store the state before the node, from which the response will continue the run."""
        if not self._persistence.is_saved(before):
            self._save(context.node, before)
        pause.state = before.clone()
        self._emit_node(
            EventType.GRAPH_PAUSE, context, kind=pause.kind, question=pause.question
        )
        await self._flush(context.node, before)

    async def _complete(self, name: str, state: S) -> S:
        self.emit_event(
            EventType.GRAPH_COMPLETE,
            exit_point=name,
            iterations=self._iterations,
            path_length=len(self._path),
        )
        await self._flush(name, state)
        self._persistence.delete(state.run_id)
        return state

    async def _emit_failure(self, error: ExecutionError, state: State) -> None:
        self.emit_event(
            EventType.GRAPH_ERROR,
            node=error.node,
            path=list(error.path),
            code=error.code,
            message=str(error),
        )
        try:
            await self._flush(error.node, error.state or state)
        except ExecutionError as flush_error:
            flush_error.add_note(
                f"This happened while recording another failure: {error}"
            )
            raise

    def _fail(
        self,
        code: str,
        node: str,
        state: State,
        cause: BaseException | None = None,
        **details: Any,
    ) -> NoReturn:
        raise ExecutionError(
            code, node=node, path=tuple(self._path), state=state, **details
        ) from cause

    def _emit_node(self, event: str, context: NodeContext, **data: Any) -> None:
        if self.emit is not None:
            place = {"node": context.node, "iteration": context.iteration}
            self.emit(event, {**place, **data, "sequence": context.sequence})

    def emit_event(self, event: str, **data: Any) -> None:
        """Emit an event unless the graph has no observer."""
        if self.emit is not None:
            self.emit(event, data)
