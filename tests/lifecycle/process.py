"""A process of a script: System for what it is asked, and a worker once it executes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from tests.support.workers import working
from workflows.execution.worker import Worker
from workflows.registry import Registry
from workflows.system import System


class Process:
    """One server on the shared tables. Its worker starts when it is first needed."""

    def __init__(self, number: int, registry: Registry) -> None:
        self.system = System(registry)
        self._name = f"process-{number}"
        self._registry = registry
        self._stack = AsyncExitStack()
        self.worker: Worker | None = None

    async def start(self) -> None:
        """Have its worker take runs."""
        if self.worker is None:
            self.worker = await self._stack.enter_async_context(
                working(self._registry, name=self._name)
            )

    async def shut_down(self) -> None:
        """Stop it as SIGTERM would, with no time for the nodes to finish."""
        self.worker = None
        await self._stack.aclose()


class Processes:
    """The processes of a script, by number."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[int, Process] = {}

    def __getitem__(self, number: int) -> Process:
        if number not in self._known:
            self._known[number] = Process(number, self._registry)
        return self._known[number]

    def stop_run(self, run_id: str) -> None:
        """Cancel a run where it executes, as from within it."""
        for worker in self._workers():
            worker.cancel(UUID(run_id))

    @property
    def are_working(self) -> bool:
        """Return whether anyone takes runs."""
        return bool(self._workers())

    def _workers(self) -> list[Worker]:
        return [known.worker for known in self._known.values() if known.worker]

    async def shut_down(self) -> None:
        """Stop all of them."""
        for process in self._known.values():
            await process.shut_down()


@asynccontextmanager
async def processes(registry: Registry) -> AsyncIterator[Processes]:
    """Give processes that know the same workflows, until the block ends."""
    known = Processes(registry)
    try:
        yield known
    finally:
        await known.shut_down()
