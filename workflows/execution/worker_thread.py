"""A worker in a thread of a process that does something else, such as serving pages."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from workflows.engine.protected_loop import ResilientLoop
from workflows.execution.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkerThread:
    """Runs a worker on an event loop in a thread; controlled from another event loop."""

    def __init__(self, make: Callable[[], Worker] = Worker) -> None:
        """`make` is called in the thread."""
        self._make = make
        self._started: Future[tuple[Worker, asyncio.AbstractEventLoop]] = Future()
        self._ended: Future[None] = Future()

    async def run(self) -> None:
        """Start the thread and return when the worker has been drained. Raises its error."""
        # a daemon, so that a process that ends at once does not wait for it
        threading.Thread(target=self._serve, name="worker", daemon=True).start()
        await asyncio.wrap_future(self._ended)

    async def drain(self) -> None:
        """Drain the worker; return when it has stopped claiming and holds nothing more."""
        worker, loop = await asyncio.shield(asyncio.wrap_future(self._started))
        drain = asyncio.run_coroutine_threadsafe(worker.drain(), loop)
        await asyncio.wrap_future(drain)

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=ResilientLoop) as runner:
                runner.run(self._work())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _work(self) -> None:
        worker = self._make()
        self._started.set_result((worker, asyncio.get_running_loop()))
        await worker.run()
