"""Parallel: process items concurrently; finished results are stored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from workflows.engine.author_code import call_contained
from workflows.engine.cancellation import (
    Cancellation,
    Interruption,
    cancel_until_done,
    no_repeated_interruption,
)
from workflows.engine.config import ParallelConfig
from workflows.engine.context import NodeContext
from workflows.engine.errors import (
    Cancelled,
    DeadlinePassed,
    ItemError,
    ParallelError,
    Paused,
)
from workflows.engine.events import EventType
from workflows.engine.fair_scheduling import MAX_TURNS, Turns, turns_of_loop
from workflows.engine.nodes import Node, as_node, call_function
from workflows.engine.observers import Observer
from workflows.engine.retries import run_with_retries

from .context import pattern_context

STOP_SIGNALS = (Cancelled, DeadlinePassed)  # raised by an item on cancellation

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ParallelResult(Generic[Result]):
    """The results and errors of the items."""

    results: tuple[Result, ...]  # of successful items, in item order
    errors: tuple[ItemError, ...] = ()  # of failed items, in item order


@dataclass(slots=True)
class StoredItems(Generic[Result]):
    """Results of an earlier attempt, and the function that stores new ones."""

    saved: Mapping[int, Any]  # as they were stored
    read: Callable[[Any], Result]
    save: Callable[
        [int, Result], Result
    ]  # returns the value that a later attempt will read
    fail: Callable[[int, BaseException], None]  # records why an item failed


async def map(  # noqa: A001, PLR0913 - the pattern's name and its options
    items: Iterable[Any],
    processor: Callable[..., Any] | Node[Any, Any],
    progress: Callable[[int, int, Any], object] | None = None,
    *,
    config: ParallelConfig | None = None,
    observer: Observer | None = None,
    cancellation: Cancellation | None = None,
    context: NodeContext | None = None,
    runtime: object = None,
    stored: StoredItems[Any] | None = None,
    cpus: int | None = None,
    at_once: int = 0,
) -> ParallelResult[Any]:
    """Call `processor(item)` for every item, by several workers that take them in order.

    1. With fail_fast, the first error stops the other items and raises ParallelError.
    2. Otherwise every item runs; raises ParallelError only if there are items and all failed.
    3. Cancellation raises ParallelError, unless everything had finished.
    4. `progress(finished, total, result)` is called after each success, counted without gaps.
    """
    config = config or ParallelConfig()
    alone = context is None
    context = pattern_context(
        "parallel",
        named=config.observer,
        observer=observer,
        cancellation=cancellation,
        context=context,
    )
    work: _Map[Any, Any] = _Map(
        list(items),
        as_node(processor),
        progress,
        config.fails_fast,
        context,
        runtime,
        stored,
    )
    workers = worker_count(
        config, len(work.items), cpus or os.cpu_count() or 1, at_once
    )
    if not alone:
        return await work.run(workers)
    with Interruption(context.cancellation).subscribed() as interruption:
        interruption.open()
        try:
            return await work.run(workers)
        finally:
            interruption.close()


def worker_count(
    config: ParallelConfig, items: int, cpus: int, at_once: int = 0
) -> int:
    """Return the number of concurrent items: as configured, else `at_once`, else by CPUs.

    0 without items, otherwise at least 1.
    """
    if not items:
        return 0
    if config.max_workers > 0:
        return config.max_workers
    if at_once:
        return min(at_once, items)
    return max(1, min(2 * cpus, config.worker_cap, items))


@dataclass(eq=False, slots=True)
class _Map(Generic[Item, Result]):
    items: list[Item]
    node: Node[Item, Result]
    progress: Callable[[int, int, Result], object] | None
    fail_fast: bool
    context: NodeContext
    runtime: object
    stored: StoredItems[Result] | None
    results: dict[int, Result] = field(default_factory=dict)
    errors: dict[int, ItemError] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)  # of the workers
    unfinished: int = 0  # of the tasks
    is_broken: bool = False  # a worker failed, as opposed to its item
    waiter: asyncio.Future[None] | None = None  # set when either of them changes
    pause: Paused | None = None  # of an item, requested from outside
    is_ending: bool = False  # whether the workers are being stopped
    stopping: asyncio.Task[None] | None = None  # the workers, after a failure
    turns: Turns = field(default_factory=turns_of_loop)
    pending: Iterator[int] = field(init=False)  # items without a worker
    stop: Cancellation = field(init=False)  # of the items: by the run or by a failure

    async def run(self, workers: int) -> ParallelResult[Result]:
        await self._read_stored()
        self._emit_start(workers)
        try:
            with self.context.cancellation.child() as self.stop:
                if workers:
                    await self._work(workers)
        except BaseException:
            self._emit_complete(error=True)
            raise
        error = self._overall_error() or self.pause
        self._emit_complete(error=error is not None)
        if error is not None:
            raise error
        return self.result

    async def _read_stored(self) -> None:
        """Take the results of an earlier attempt; the other items are pending."""
        pending = []
        for index in range(len(self.items)):
            if self.stored is None or index not in self.stored.saved:
                pending.append(index)
                continue
            if not self.turns.take():
                await self.turns.wait()
            self.results[index] = self.stored.read(self.stored.saved[index])
        self.pending = iter(pending)

    @property
    def result(self) -> ParallelResult[Result]:
        return ParallelResult(
            tuple(self.results[index] for index in sorted(self.results)),
            tuple(self.errors[index] for index in sorted(self.errors)),
        )

    async def _work(self, workers: int) -> None:
        """
        1. Start the workers and wait for them.
        2. On interruption, stop the workers and wait for their end; raise it unless it was the
           run's cancellation, which the overall result then reflects.
        3. An error of a worker, as opposed to its item, stops the others and is raised.
        """
        try:
            await self._start_workers(workers)
            await self._wait_for_workers(or_failure=True)
        except asyncio.CancelledError:
            await self._end_workers()
            if not self.context.cancellation.cancelled:
                raise
        await self._end_workers()
        broken = [task.exception() for task in self.tasks if not task.cancelled()]
        for error in filter(None, broken):
            raise error

    async def _start_workers(self, workers: int) -> None:
        for number in range(workers):
            if not self.turns.take():
                await self.turns.wait()
            task = asyncio.create_task(self._worker(number))
            task.add_done_callback(self._on_worker_ended)
            self.tasks.append(task)
            self.unfinished += 1

    async def _wait_for_workers(self, *, or_failure: bool = False) -> None:
        """Return once all workers have ended, or one of them failed.

        `asyncio.wait` would add and remove a callback of each at once.
        """
        while self.unfinished and not (or_failure and self.is_broken):
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter

    def _on_worker_ended(self, task: asyncio.Task[None]) -> None:
        self.unfinished -= 1
        has_failed = not task.cancelled() and task.exception() is not None
        self.is_broken |= has_failed
        is_over = has_failed or not self.unfinished
        if is_over and self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def _end_workers(self) -> None:
        self.is_ending = True
        if self.stopping is not None:
            self.stopping.cancel()
        try:
            with no_repeated_interruption():
                await self._cancel([task for task in self.tasks if not task.done()])
                await self._wait_for_workers()
        except asyncio.CancelledError:
            for task in self.tasks:
                task.cancel()  # from outside, without waiting for threads
            raise

    async def _cancel(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        for task in tasks:
            if not self.turns.take():
                await self.turns.wait()
            cancel_until_done(task)

    async def _worker(self, number: int) -> None:
        while not self.stop.cancelled:
            if interruption := await self._turn():
                self._raise_if_stopping(interruption)
                continue
            if self.stop.cancelled:
                return
            index = next(self.pending, None)
            if index is None:
                return
            await self._item(number, index)

    async def _turn(self) -> asyncio.CancelledError | None:
        """Return when the loop has time for the next part of an item.

        An interruption meanwhile is returned: what is finished has to be stored first.
        """
        if self.turns.take():
            return None
        try:
            await self.turns.wait()
        except asyncio.CancelledError as interruption:
            return interruption
        return None

    def _raise_if_stopping(self, interruption: asyncio.CancelledError) -> None:
        """Raise an interruption, unless the worker was cancelled by code of an item."""
        if self.is_ending or self.stop.cancelled:
            raise interruption
        _uncancel(asyncio.current_task())

    async def _item(self, worker: int, index: int) -> None:
        place = {
            "worker_id": worker,
            "item_index": index,
            "total_items": len(self.items),
        }
        self.context.emit_event(EventType.WORKER_START, dict(place))
        interruption = None
        try:
            result = await self._execute(index)
            interruption = await self._turn()
            result = self._stored(index, result)
        except (Exception, Paused, asyncio.CancelledError, *STOP_SIGNALS) as error:
            self.context.emit_event(EventType.WORKER_COMPLETE, place | {"error": True})
            self._record_failure(index, error)
            return
        self.results[index] = result
        self.context.emit_event(EventType.WORKER_COMPLETE, place | {"error": False})
        if self.progress is not None:
            finished, total = len(self.results), len(self.items)
            await call_function(self.progress, self.context, finished, total, result)
        if interruption is not None:
            self._raise_if_stopping(interruption)

    async def _execute(self, index: int) -> Result:
        context = self.context.for_item(index, self.stop)
        return await run_with_retries(
            self.node, self.items[index], self.runtime, context
        )

    def _stored(self, index: int, result: Result) -> Result:
        """Store a result; return it as a later attempt will read it."""
        if self.stored is None:
            return result
        # serialises and validates a model of the author
        return call_contained(partial(self.stored.save, index, result))

    def _record_failure(self, index: int, error: BaseException) -> None:
        """Record an item's error unless it was interrupted; with fail_fast stop the others."""
        task = asyncio.current_task()
        if not (self.is_ending or self.stop.cancelled):
            _uncancel(task)  # cancelled by its own code only
        if task is not None and task.cancelling():
            if isinstance(error, asyncio.CancelledError):
                raise error
            return
        if isinstance(error, STOP_SIGNALS) and self.stop.cancelled:
            return
        if isinstance(error, Paused) and error.again:
            # running items finish and are stored, the others wait with the run
            self.pause, self.pending = error, iter(())
            return
        failure = _item_failure(error)
        self.errors[index] = ItemError(index, self.items[index], failure)
        if self.stored is not None:
            self.stored.fail(index, failure)
        if self.fail_fast:
            self._stop_others(task)

    def _stop_others(self, this: asyncio.Task[Any] | None) -> None:
        """Stop the other items, those that are first at once."""
        self.stop.cancel("another item failed")
        others = [task for task in self.tasks if task is not this and not task.done()]
        for task in others[:MAX_TURNS]:
            cancel_until_done(task)
        if rest := others[MAX_TURNS:]:
            self.stopping = asyncio.create_task(self._cancel(rest))

    def _overall_error(self) -> ParallelError | None:
        """Return the error of the node as a whole, or None."""
        all_ran = len(self.results) + len(self.errors) == len(self.items)
        if self.context.cancellation.cancelled:
            complete = all_ran and not self.errors
            usable = all_ran and not self.fail_fast and self.results
            if not (complete or usable):
                error = self._error("parallel.cancelled")
                error.__cause__ = self.context.cancellation.error()
                return error
            return None
        if self.errors and (self.fail_fast or not self.results):
            error = self._error("parallel.failed")
            error.__cause__ = next(iter(self.errors.values())).cause
            return error
        return None

    def _error(self, code: str) -> ParallelError:
        result = self.result
        return ParallelError(code, errors=result.errors, results=result.results)

    def _emit_start(self, workers: int) -> None:
        data = {
            "item_count": len(self.items),
            "worker_count": workers,
            "fail_fast": self.fail_fast,
            "has_progress_callback": self.progress is not None,
        }
        if self.results:
            data["kept"] = len(self.results)
        self.context.emit_event(EventType.PARALLEL_START, data)

    def _emit_complete(self, *, error: bool) -> None:
        self.context.emit_event(
            EventType.PARALLEL_COMPLETE,
            {
                "items_processed": len(self.results),
                "items_failed": len(self.errors),
                "error": error,
            },
        )


def _uncancel(task: asyncio.Task[Any] | None) -> None:
    while task is not None and task.cancelling():
        task.uncancel()


def _item_failure(error: BaseException) -> BaseException:
    """Return the error to report for an item; a pause or cancellation becomes RuntimeError."""
    if isinstance(error, Paused):
        return RuntimeError(
            "an item cannot pause the run: pause in a separate node before or after this one"
        )
    if isinstance(error, asyncio.CancelledError):
        return RuntimeError("something that the item awaited was cancelled")
    return error
