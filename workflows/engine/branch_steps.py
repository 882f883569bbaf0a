"""The execution of branches: their steps, the results that are kept, and the join.

Each branch is a task of its own with a cancellation of its own. A step is recorded like any
other: it has a number, tries and a stage, and its result is stored before the next one begins. A
later attempt takes the results of finished steps, so that these never run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .author_code import call_contained
from .cancellation import (
    Cancellation,
    Interruption,
    cancel_until_done,
    no_repeated_interruption,
)
from .context import NodeContext
from .errors import BranchesFailed, Cancelled, DeadlinePassed, Paused, caused_by
from .events import EventType
from .frozen import equal
from .json_patch import apply, diff
from .node_results import NODE_ERRORS, failure_data, require_state
from .node_runner import NodeRunner
from .patterns.branches import BranchesNode, BranchStep
from .state import State

if TYPE_CHECKING:
    from .frozen import Json
    from .persistence import Persistence

ORDINALS: Final = ("first", "second", "third")


class StepNotStored(Exception):
    """What a branch recorded could not be stored; the cause says why."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a finished branch."""

    place: int  # 1 is the branch that finished first
    value: Any
    json: Json


class Branches:
    """The branches of one step of one run, in one attempt."""

    def __init__(
        self,
        node: BranchesNode,
        before: State,
        runtime: object,
        context: NodeContext,
        persistence: Persistence,
    ) -> None:
        self._node = node
        self._before = before
        self._runtime = runtime
        self._context = context
        self._persistence = persistence
        self._saved: Mapping[int, Any] = context.saved_items()
        self._stops: dict[str, Cancellation] = {}
        self._finished: dict[str, Finished] = {}
        self._failed: dict[str, BaseException] = {}
        self._pause: Paused | None = None
        self._is_drained = False  # a step did not begin, since the worker drains
        self._places = max(map(_place_of, self._saved.values()), default=0)

    async def run(self) -> State:
        """Return the state after the join.

        1. Every branch runs until it has finished or failed. As soon as enough have finished, or
           too many have failed, the others are cancelled.
        2. Enough results are joined, also if the run was cancelled meanwhile.
        3. Otherwise raises BranchesFailed, the pause of a step, or the signal of the run.
        4. When the worker drains, the steps that run finish, and the run is released.

        Raises StepNotStored, and Superseded after the run was released.
        """
        with contextlib.ExitStack() as stack:
            for name in self._node.branches:
                child = self._context.cancellation.child()
                self._stops[name] = stack.enter_context(child)
            await self._run_all()
        if self._is_released:
            await self._persistence.release_step()
        return self._outcome()

    def _outcome(self) -> State:
        if self._is_complete:
            self._emit_missing()
            results = {
                name: (self._finished[name].value, self._finished[name].json)
                for name in self._node.branches
                if name in self._finished and self._counts(self._finished[name])
            }
            return call_contained(
                functools.partial(self._node.joined, self._before, results)
            )
        self._context.cancellation.raise_if_cancelled()
        if self._pause is None or self._cannot_complete:
            raise BranchesFailed(
                self._failed, len(self._node.branches), self._node.need
            )
        raise self._pause

    @property
    def _is_complete(self) -> bool:
        return len(self._finished) >= self._node.need

    @property
    def _cannot_complete(self) -> bool:
        left = len(self._node.branches) - len(self._failed)
        return left < self._node.need

    @property
    def _is_released(self) -> bool:
        """Whether another worker has to continue the branches, as their only end."""
        has_end = self._is_complete or self._cannot_complete or self._pause is not None
        stopped = self._context.cancellation.cancelled
        return self._is_drained and not (has_end or stopped)

    def _counts(self, finished: Finished) -> bool:
        return finished.place <= self._node.need

    # -- tasks ------------------------------------------------------------------------

    async def _run_all(self) -> None:
        """Run the branches until all have ended. Raises the error of one that was not stored."""
        self._take_saved()
        if self._is_complete:
            return
        tasks = [
            asyncio.create_task(self._branch(name))
            for name in self._node.branches
            if name not in self._finished
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:  # of the task of the run
            await _end(tasks)
            raise
        broken = [error for task in done if (error := _error_of(task)) is not None]
        if broken:
            await _end(tasks)
            # the loss of the lease has priority over a refused record
            raise next((e for e in broken if not isinstance(e, Exception)), broken[0])

    async def _branch(self, name: str) -> None:
        """Run a branch to its end. Raises StepNotStored and what is not of the author."""
        try:
            await self._run_steps(name)
        except Paused as pause:
            self._pause = pause
        except StepNotStored:
            raise
        except NODE_ERRORS as error:
            if self._stops[name].cancelled and _is_stop(error):
                return
            self._failed[name] = error
            if self._cannot_complete:
                self._stop_others(name, f"branch {name} failed")

    async def _run_steps(self, name: str) -> None:
        stop, state = self._stops[name], self._before
        with Interruption(stop).subscribed() as interruption:
            runner = NodeRunner(self._runtime, stop, interruption)
            for step in self._node.branches[name]:
                if step.index in self._saved:
                    state = self._restored(step, state)
                elif stop.cancelled or self._pause is not None:
                    return
                elif self._persistence.is_draining:
                    self._is_drained = True
                    return
                else:
                    state = await self._step(step, state, runner)

    async def _step(self, step: BranchStep, before: Any, runner: NodeRunner) -> Any:
        """Run one step; return the state after it. Raises its error."""
        context = self._context_of(step)
        self._persistence.restore(context)
        self._emit_node(EventType.NODE_START, step, context, input_snapshot=before.data)
        await self._flush()
        try:
            result = await runner.run(step.node, before, context)
            item, after, finished = call_contained(
                functools.partial(self._taken, step, before, result)
            )
        except Paused as pause:
            # a step that was paused from outside runs again, others finish and are kept
            error: BaseException = pause if pause.again else _refused(step)
            self._emit_failure(step, context, before, error)
            raise error from pause
        except NODE_ERRORS as error:
            self._emit_failure(step, context, before, error)
            raise
        if self._context.save_item is not None:
            self._context.save_item(step.index, item)
        self._emit_node(
            EventType.NODE_COMPLETE,
            step,
            context,
            error=False,
            output_snapshot=after.data,
        )
        self._emit_edge(step, context.sequence, finished)
        if finished is not None:
            self._finish(step.branch, finished)
        await self._flush()
        return after

    def _finish(self, name: str, finished: Finished) -> None:
        self._finished[name] = finished
        if self._is_complete:
            # without quotation marks: pages quote the reason
            self._stop_others(name, f"{', '.join(self._taken_names())} finished first")

    def _stop_others(self, name: str, reason: str) -> None:
        for other, stop in self._stops.items():
            if other != name and other not in self._finished:
                stop.cancel(reason)

    async def _flush(self) -> None:
        try:
            await self._persistence.flush()
        except Exception as error:
            raise StepNotStored from error

    # -- results ----------------------------------------------------------------------

    def _taken(
        self, step: BranchStep, before: Any, result: object
    ) -> tuple[Json, Any, Finished | None]:
        """Return what is stored of a step, the state after it, and the result of its branch.

        Raises TypeError, NotSerialisable.
        """
        if not step.is_last:
            after = require_state(result, before)
            return {"patch": diff(before.data, after.data)}, after, None
        place = self._places + 1
        if isinstance(result, State):
            after = require_state(result, before)
            finished = self._changes(after, place)
            item: Json = {"patch": diff(before.data, after.data), "place": place}
        else:
            codec = self._node.codec(step.branch)
            written = codec.write(result)
            after, finished = before, Finished(place, codec.read(written), written)
            item = {"result": written, "place": place}
        self._places = place
        return item, after, finished

    def _changes(self, after: State, place: int) -> Finished:
        """Return the fields that a branch has changed, as its result."""
        old = self._before.data
        names = [
            name
            for name, value in after.data.items()
            if name not in old or not equal(old[name], value)
        ]
        json: dict[str, Json] = {name: after.data[name] for name in names}
        return Finished(place, {name: after[name] for name in names}, json)

    def _take_saved(self) -> None:
        """Take the results of branches that finished in an earlier attempt."""
        for steps in self._node.branches.values():
            if steps[-1].index in self._saved:
                state = self._before
                for step in steps:
                    state = self._restored(step, state)

    def _restored(self, step: BranchStep, before: State) -> State:
        """Return the state after a step that an earlier attempt finished."""
        item = self._saved[step.index]
        if "result" in item:
            value = call_contained(
                functools.partial(self._node.codec(step.branch).read, item["result"])
            )
            self._finished[step.branch] = Finished(item["place"], value, item["result"])
            return before
        after = call_contained(functools.partial(_patched, before, item["patch"]))
        if step.is_last:
            self._finished[step.branch] = self._changes(after, item["place"])
        return after

    # -- events -----------------------------------------------------------------------

    def _context_of(self, step: BranchStep) -> NodeContext:
        return NodeContext(
            run_id=self._context.run_id,
            node=step.node.name,
            sequence=self._sequence_of(step),
            iteration=self._context.iteration,
            cancellation=self._stops[step.branch],
            clock=self._context.clock,
            emit=self._context.emit,
        )

    def _sequence_of(self, step: BranchStep) -> int:
        return self._context.sequence - len(self._node.steps) + step.index

    def _emit_failure(
        self,
        step: BranchStep,
        context: NodeContext,
        before: State,
        error: BaseException,
    ) -> None:
        details = failure_data(error, before)
        if isinstance(error, Paused):
            details |= {"cancelled": True, "error_message": "paused: it runs again"}
        self._emit_node(EventType.NODE_COMPLETE, step, context, error=True, **details)

    def _emit_node(
        self, event: str, step: BranchStep, context: NodeContext, **data: Any
    ) -> None:
        place = {"iteration": context.iteration, "branch": step.branch}
        context.emit_event(event, {**place, **data})

    def _emit_edge(
        self, step: BranchStep, sequence: int, finished: Finished | None
    ) -> None:
        """Record that a step leads to the next one of its branch, or to the join."""
        if finished is None:
            steps = self._node.branches[step.branch]
            following = steps[steps.index(step) + 1].node.name
            self._emit_decision(step, following, sequence)
            return
        reason = "always"
        if not self._node.needs_all:
            place = finished.place
            nth = ORDINALS[place - 1] if place <= len(ORDINALS) else f"number {place}"
            reason = f"“{step.branch}” was {nth}, {self._needed}"
        self._emit_decision(
            step, self._context.node, sequence, reason, result=self._counts(finished)
        )

    def _emit_missing(self) -> None:
        """Record why the branches without a result do not lead to the join."""
        for name, steps in self._node.branches.items():
            if name in self._finished:
                continue
            end = "failed" if name in self._failed else "was cancelled"
            reason = (
                f"“{name}” {end}, {self._first_ones()} finished first, {self._needed}"
            )
            step = steps[-1]
            self._emit_decision(
                step, self._context.node, self._sequence_of(step), reason, result=False
            )

    @property
    def _needed(self) -> str:
        are = "is" if self._node.need == 1 else "are"
        return f"{self._node.need} of {len(self._node.branches)} {are} needed"

    def _first_ones(self) -> str:
        return ", ".join(f"“{name}”" for name in self._taken_names())

    def _taken_names(self) -> list[str]:
        """Return the names of the branches that the join takes, in the order of their ends."""
        taken = [one for one in self._finished.items() if self._counts(one[1])]
        return [name for name, _ in sorted(taken, key=lambda one: one[1].place)]

    def _emit_decision(
        self,
        step: BranchStep,
        target: str,
        sequence: int,
        reason: str = "always",
        *,
        result: bool = True,
    ) -> None:
        emit = self._context.emit
        if emit is None:
            return
        is_conditional = reason != "always"
        name = f"among the first {self._node.need}" if is_conditional else ""
        edge = {"from": step.node.name, "to": target, "edge_index": 0}
        verdict = {"predicate_name": name, "predicate_result": result}
        place = {"sequence": sequence, "branch": step.branch}
        evaluated = {"has_predicate": is_conditional, "reason": reason, "values": {}}
        emit(EventType.EDGE_EVALUATE, {**edge, **evaluated, **verdict, **place})
        if result:
            emit(EventType.EDGE_TRANSITION, {**edge, **verdict, **place})


def state_in_branch(
    node: BranchesNode, step: BranchStep, before: State, items: Mapping[int, Any]
) -> State:
    """Return the state after a step of a branch, from the stored steps of its branch.

    `before` is the state at the split. Raises CheckpointMismatch.
    """
    state = before
    for each in node.branches[step.branch]:
        if each.index <= step.index and "patch" in (item := items.get(each.index, {})):
            state = call_contained(functools.partial(_patched, state, item["patch"]))
    return state


def _patched(before: State, patch: Any) -> State:
    return type(before).from_data(
        apply(patch, before.data),
        run_id=before.run_id,
        checkpoint_node=before.checkpoint_node,
        sequence=before.sequence,
        timestamp=before.timestamp,
        secrets=before.secrets,
    )


def _place_of(item: Any) -> int:
    place: int = item.get("place", 0)
    return place


def _refused(step: BranchStep) -> RuntimeError:
    return RuntimeError(
        f"“{step.node.name}” is in a branch, which cannot pause the run: pause in a separate node"
        " before or after the branches"
    )


def _is_stop(error: BaseException) -> bool:
    return any(
        isinstance(error, kind) or caused_by(error, kind)
        for kind in (Cancelled, DeadlinePassed)
    )


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks that still run, and wait for their end."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        cancel_until_done(task)
    if left:
        with no_repeated_interruption():
            await asyncio.wait(left)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved: it was the first one that is raised
