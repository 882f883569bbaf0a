"""An event loop in a thread of its own, for threads that no event loop has called.

A command or a script has none. A loop for each notification would open a connection to Redis
each time; this one keeps it.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

Result = TypeVar("Result")

EXIT_SECONDS = 5.0  # that the end of the process waits for what is left to do

logger = logging.getLogger(__name__)


class BackgroundLoop:
    """Started when it is first used; thread-safe. A forked child process has another one."""

    def __init__(self, at_exit: Callable[[], Awaitable[object]]) -> None:
        """`at_exit` is awaited on the loop before the process ends."""
        self._at_exit = at_exit
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Start over: the thread of a parent process does not exist in its child."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: set[Future[Any]] = set()  # of this loop

    @property
    def is_running(self) -> bool:
        """Whether it has been used."""
        return self._loop is not None

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Execute a coroutine on the loop."""
        with self._lock:
            if self._loop is None:
                self._start()
            assert self._loop is not None  # noqa: S101 - it was started
            submitted = asyncio.run_coroutine_threadsafe(work, self._loop)
            pending = self._pending
            pending.add(submitted)
        submitted.add_done_callback(pending.discard)
        return submitted

    def _start(self) -> None:
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=loop.run_forever, name="background-loop", daemon=True
        )
        self._thread.start()
        # not a method: a child process forgets the loop, and must not close it
        atexit.register(self._close, loop, self._thread)

    def _close(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        """Do what is left to do, then end the thread and the connections of the loop."""
        if loop is not self._loop:
            return
        with self._lock:
            self._loop = None
            pending, self._pending = self._pending, set()
        finish = self._finish(list(pending))
        try:
            asyncio.run_coroutine_threadsafe(finish, loop).result(EXIT_SECONDS)
        except Exception as error:
            logger.warning("Notifications were lost at the end: %s", error)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        thread.join(EXIT_SECONDS)
        if not thread.is_alive():
            loop.close()

    async def _finish(self, pending: Iterable[Future[Any]]) -> None:
        """Wait for what was submitted, which the end of the loop would drop; then `at_exit`."""
        waited = (asyncio.wrap_future(one) for one in pending)
        for result in await asyncio.gather(*waited, return_exceptions=True):
            if isinstance(result, BaseException):
                logger.warning("A notification failed at the end: %r", result)
        await self._at_exit()
