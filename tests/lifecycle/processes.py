"""The processes of a script: each has a System and, once it executes runs, a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from tests.support.workers import working
from workflows.execution.worker import Worker
from workflows.registry import Registry
from workflows.system import System


class Process:
    """A server on the shared tables. Its worker starts on first use."""

    def __init__(self, number: int, registry: Registry) -> None:
        self.system = System(registry)
        self._name = f"process-{number}"
        self._registry = registry
        self._stack = AsyncExitStack()
        self.worker: Worker | None = None

    async def start(self) -> None:
        """Start the worker, if it is not running."""
        if self.worker is None:
            self.worker = await self._stack.enter_async_context(
                working(self._registry, name=self._name)
            )

    async def shut_down(self) -> None:
        """Stop the worker as SIGTERM does, without time for nodes to finish."""
        self.worker = None
        await self._stack.aclose()


class Processes:
    """The processes of a script by number; each is created on first access."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._by_number: dict[int, Process] = {}

    def __getitem__(self, number: int) -> Process:
        if number not in self._by_number:
            self._by_number[number] = Process(number, self._registry)
        return self._by_number[number]

    def cancel_run(self, run_id: str) -> None:
        """Cancel a run on the worker that executes it, as its own node would."""
        for worker in self._workers():
            worker.cancel(UUID(run_id))

    @property
    def have_workers(self) -> bool:
        """Return whether any worker claims runs."""
        return bool(self._workers())

    def _workers(self) -> list[Worker]:
        return [
            process.worker for process in self._by_number.values() if process.worker
        ]

    async def shut_down(self) -> None:
        """Stop all workers."""
        for process in self._by_number.values():
            await process.shut_down()


@asynccontextmanager
async def processes(registry: Registry) -> AsyncIterator[Processes]:
    """Provide processes that share a registry; shut them down at the end."""
    by_number = Processes(registry)
    try:
        yield by_number
    finally:
        await by_number.shut_down()
