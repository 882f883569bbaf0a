"""A worker on the test's event loop, and waits for runs without sleeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from workflows.execution.worker import Worker
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.models import ENDED, Run
from workflows.registry import Registry
from workflows.registry import registry as installed

TIMEOUT_SECONDS = 20  # fails a test that would block forever


class SharedEvent:
    """An event that a test shares with its nodes, which execute on another event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._waiting: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake all waiters, on any loop."""
        with self._lock:
            self._is_set = True
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            with suppress(RuntimeError):  # its loop has been closed
                future.get_loop().call_soon_threadsafe(_resolve, future)

    async def wait(self) -> None:
        """Wait until the event is set."""
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._is_set:
                return
            self._waiting.add(future)
        await future


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@asynccontextmanager
async def working(
    registry: Registry | None = None, *, capacity: int = 8, name: str = "test-worker"
) -> AsyncIterator[Worker]:
    """Provide a running worker; drain it at the end."""
    workflows = installed if registry is None else registry
    worker = Worker(name, capacity, workflows=workflows)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.drain(grace_seconds=0)
        await task


async def until(run_id: UUID, condition: Callable[[Run], Any]) -> Run:
    """Return the run when a condition is true; it is checked at every notification."""
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        notifications.subscribe(notifications.PAGES) as subscriber,
    ):
        while True:
            run = await run_in_db(Run.objects.get, pk=run_id)
            if await run_in_db(condition, run):
                return run
            await subscriber.next()


async def ended(run_id: UUID) -> Run:
    """Return the run when it has ended."""
    return await until(run_id, lambda run: run.status in ENDED)


async def reaches(run_id: UUID, status: str) -> Run:
    """Return the run when it has this status."""
    return await until(run_id, lambda run: run.status == status)
