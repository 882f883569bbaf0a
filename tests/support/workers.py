"""A worker in the test's own event loop, and waiting for what it does, without sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from workflows.execution.worker import Worker
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.models import ENDED, Run
from workflows.registry import Registry

TIMEOUT_SECONDS = 20  # a bound for what never comes, not a wait


@asynccontextmanager
async def working(
    registry: Registry | None = None, *, capacity: int = 8, name: str = "test-worker"
) -> AsyncIterator[Worker]:
    """Give a worker that works until the block ends, then drains."""
    given = {"workflows": registry} if registry is not None else {}
    worker = Worker(name, capacity, **given)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.drain(grace_seconds=0)
        await task


async def until(run_id: UUID, holds: Callable[[Run], Any]) -> Run:
    """Return the run as soon as something holds of it; look again at every nudge."""
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        notifications.subscribe(notifications.PAGES) as ear,
    ):
        while True:
            run = await run_in_db(Run.objects.get, pk=run_id)
            if await run_in_db(holds, run):
                return run
            await ear.next()


async def ended(run_id: UUID) -> Run:
    """Return the run when it has ended."""
    return await until(run_id, lambda run: run.status in ENDED)


async def reaches(run_id: UUID, status: str) -> Run:
    """Return the run when it has this status."""
    return await until(run_id, lambda run: run.status == status)
