"""Parallel: process items concurrently; finished results are stored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from workflows.engine.cancellation import (
    Cancellation,
    Interruption,
    cancel_until_done,
    no_repeated_interruption,
)
from workflows.engine.config import ParallelConfig
from workflows.engine.containment import call_contained
from workflows.engine.context import NodeContext
from workflows.engine.errors import (
    Cancelled,
    DeadlinePassed,
    ItemError,
    ParallelError,
    Paused,
)
from workflows.engine.events import EventType
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

    saved: Mapping[int, Result]
    save: Callable[
        [int, Result], Result
    ]  # returns the value that a later attempt will read


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
    workers = worker_count(config, len(work.items), cpus or os.cpu_count() or 1)
    if not alone:
        return await work.run(workers)
    with Interruption(context.cancellation).subscribed() as interruption:
        interruption.open()
        try:
            return await work.run(workers)
        finally:
            interruption.close()


def worker_count(config: ParallelConfig, items: int, cpus: int) -> int:
    """Return the number of concurrent items: as configured, else by CPUs and items.

    0 without items, otherwise at least 1.
    """
    if not items:
        return 0
    if config.max_workers > 0:
        return config.max_workers
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
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    pause: Paused | None = None  # of an item, requested from outside
    is_ending: bool = False  # whether the workers are being stopped
    pending: Iterator[int] = field(init=False)  # items without a worker
    stop: Cancellation = field(init=False)  # of the items: by the run or by a failure

    def __post_init__(self) -> None:
        saved = {} if self.stored is None else self.stored.saved
        indices = range(len(self.items))
        self.results = {index: saved[index] for index in indices if index in saved}
        self.pending = iter([index for index in indices if index not in saved])

    async def run(self, workers: int) -> ParallelResult[Result]:
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
        self.tasks = [
            asyncio.create_task(self._worker(number)) for number in range(workers)
        ]
        try:
            await asyncio.wait(self.tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            await self._end_workers()
            if not self.context.cancellation.cancelled:
                raise
        await self._end_workers()
        broken = [task.exception() for task in self.tasks if not task.cancelled()]
        for error in filter(None, broken):
            raise error

    async def _end_workers(self) -> None:
        self.is_ending = True
        for task in self.tasks:
            cancel_until_done(task)
        try:
            with no_repeated_interruption():
                await asyncio.wait(self.tasks)
        except asyncio.CancelledError:
            for task in self.tasks:
                task.cancel()  # from outside, without waiting for threads
            raise

    async def _worker(self, number: int) -> None:
        while not self.stop.cancelled:
            index = next(self.pending, None)
            if index is None:
                return
            await self._item(number, index)

    async def _item(self, worker: int, index: int) -> None:
        place = {
            "worker_id": worker,
            "item_index": index,
            "total_items": len(self.items),
        }
        self.context.emit_event(EventType.WORKER_START, dict(place))
        try:
            result = await self._result(index)
        except (Exception, Paused, asyncio.CancelledError, *STOP_SIGNALS) as error:
            self.context.emit_event(EventType.WORKER_COMPLETE, place | {"error": True})
            self._record_failure(index, error)
            return
        self.results[index] = result
        self.context.emit_event(EventType.WORKER_COMPLETE, place | {"error": False})
        if self.progress is not None:
            finished, total = len(self.results), len(self.items)
            await call_function(self.progress, self.context, finished, total, result)

    async def _result(self, index: int) -> Result:
        context = self.context.for_item(index, self.stop)
        result = await run_with_retries(
            self.node, self.items[index], self.runtime, context
        )
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
        self.errors[index] = ItemError(index, self.items[index], _item_failure(error))
        if self.fail_fast:
            self._stop_others(task)

    def _stop_others(self, this: asyncio.Task[Any] | None) -> None:
        self.stop.cancel("another item failed")
        for task in self.tasks:
            if task is not this:
                cancel_until_done(task)

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
