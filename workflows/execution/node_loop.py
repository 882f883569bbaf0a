"""The event loop on which a worker's runs execute, in a thread that runs nothing else.

An async node that does not await blocks this loop and nothing more: the worker claims, renews
leases, handles messages and drains on another loop, and pages are served on a third.

A loop that stays blocked is abandoned: its thread cannot be interrupted, so the worker
continues on a new one. What the abandoned loop still executes writes nothing: its records
are refused, and the attempts of its runs have been closed in the database.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workflows.agents.provider_api import pooled
from workflows.engine.context import inherit_context
from workflows.engine.errors import describe
from workflows.engine.protected_loop import ResilientLoop, run_resilient
from workflows.engine.resources import open_resources
from workflows.execution.node_connections import CleaningThreads
from workflows.infra import notifications

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0  # for the tasks of a loop that ends, and for its HTTP connections

_numbers = itertools.count(1)


class Execution:
    """A task on a node loop. Its methods are called on that loop."""

    def __init__(
        self,
        work: Coroutine[Any, Any, None],
        run_id: str,
        on_ended: Callable[[], None],
    ) -> None:
        self._work = work
        self.run_id = run_id
        self._on_ended = on_ended
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the task."""
        self.task = asyncio.create_task(self._work, name=f"run {self.run_id}")
        self.task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Cancel the task, but not before its first step: it has to release its run."""
        if self.task is not None:
            asyncio.get_running_loop().call_soon(self.task.cancel)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._on_ended()
        if not task.cancelled() and (error := task.exception()):
            logger.error(
                "Run %s ended its task: %s",
                self.run_id,
                describe(error),
                exc_info=error,
            )


class NodeLoop:
    """A thread with an event loop for runs. Thread-safe except for `stop`."""

    def __init__(self) -> None:
        self.loop = ResilientLoop()
        self.is_abandoned = False
        self._executions: set[Execution] = set()  # changed under the lock
        self._lock = threading.Lock()
        self._busy = threading.Event()  # it has executions
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name=f"node-loop-{next(_numbers)}", daemon=True
        )

    @property
    def name(self) -> str:
        """The name of the thread."""
        return self._thread.name

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def execute(
        self,
        work: Coroutine[Any, Any, None],
        run_id: str,
        on_ended: Callable[[], None],
    ) -> Execution:
        """Execute a run as a task; `on_ended` is called on this loop at its end."""

        def end() -> None:
            self._remove(execution)
            on_ended()

        execution = Execution(work, run_id, end)
        with self._lock:
            self._executions.add(execution)
            self._busy.set()
        self.loop.call_soon_threadsafe(execution.begin)
        return execution

    def cancel(self, execution: Execution) -> None:
        """Cancel a task at its next await."""
        with suppress(RuntimeError):  # the loop was closed: the task has ended
            self.loop.call_soon_threadsafe(execution.cancel)

    def run_of(self, task: asyncio.Task[Any]) -> str:
        """Return the id of the run whose own task this is, "" for another task.

        Not by the name of the task, which author code can set.
        """
        with self._lock:
            found = [one for one in self._executions if one.task is task]
        return found[0].run_id if found else ""

    def wait_until_busy(self, seconds: float) -> bool:
        """Return whether a task is executed; wait up to `seconds` for one."""
        return self._busy.wait(seconds)

    def abandon(self) -> None:
        """Cancel everything on this loop, which is blocked; its thread ends with it.

        Tasks are cancelled now and not when the loop continues: they could execute another
        part of their nodes before that. A task that is not being executed can be cancelled
        from another thread, since the blocked thread changes none; the task that blocks
        is cancelled at its next await.
        """
        self.is_abandoned = True
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._start_ending)

    async def stop(self) -> bool:
        """End the thread; return False if it is blocked and continues to run."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._start_ending)
        return await asyncio.to_thread(self._ended.wait, STOP_SECONDS)

    def _remove(self, execution: Execution) -> None:
        with self._lock:
            self._executions.discard(execution)
            if not self._executions:
                self._busy.clear()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_default_executor(CleaningThreads())
        self.loop.set_task_factory(_make_task)
        try:
            run_resilient(self.loop.run_forever)
        except Exception:
            logger.exception("The event loop of %s failed.", self.name)
        finally:
            self._ended.set()
            self.loop.close()

    def _start_ending(self) -> None:
        self._ending = self.loop.create_task(self._end())

    async def _end(self) -> None:
        """Cancel all tasks, close what belongs to this loop, and stop it."""
        try:
            async with asyncio.timeout(STOP_SECONDS / 2):
                await notifications.announcer().drain()
                await pooled().close()
            await open_resources().close()
        except Exception as error:
            logger.warning("%s: its connections were not closed: %s", self.name, error)
        own = asyncio.current_task()
        tasks = {task for task in asyncio.all_tasks() if task is not own}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS / 4)
        await self.loop.shutdown_asyncgens()
        self.loop.stop()


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    """Make a task that is attributed to the node that starts it, if it blocks the loop."""
    task = asyncio.Task(work, loop=loop, **options)
    inherit_context(task)
    return task
