"""Copies of documents on a worker of the cluster, each fetched once and removed when unused."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

IDLE_SECONDS: Final = 300.0  # for which an unused copy is kept


@dataclass(slots=True, eq=False)
class _Copy:
    path: Future[str] = field(default_factory=Future)
    users: int = 0
    since: float = 0.0  # monotonic time at which its last user left


class DocumentCopies:
    """Files in a temporary directory, which the items of a process share. Thread-safe."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._directory = tempfile.TemporaryDirectory(prefix="signalbox-")
        atexit.register(self._directory.cleanup)
        self._lock = threading.Lock()
        self._copies: dict[UUID, _Copy] = {}
        self._timer: threading.Timer | None = None

    @asynccontextmanager
    async def opened(
        self, document: UUID, fetch: Callable[[], Awaitable[bytes]]
    ) -> AsyncIterator[str]:
        """Yield the path of a copy, for which the first user fetches the content.

        Raises what `fetch` raises; other users then fetch it themselves.
        """
        copy, is_first = self._enter(document)
        try:
            if is_first:
                await self._fill(document, copy, fetch)
            yield await asyncio.wrap_future(copy.path)
        finally:
            self._leave(copy)

    def _enter(self, document: UUID) -> tuple[_Copy, bool]:
        with self._lock:
            found = self._copies.get(document)
            copy = self._copies[document] = found or _Copy()
            copy.users += 1
            return copy, found is None

    async def _fill(
        self, document: UUID, copy: _Copy, fetch: Callable[[], Awaitable[bytes]]
    ) -> None:
        path = Path(self._directory.name, uuid4().hex)
        try:
            content = await fetch()
            await asyncio.to_thread(path.write_bytes, content)
        except BaseException as error:
            with self._lock:
                self._copies.pop(document, None)
            copy.path.set_exception(
                error if isinstance(error, Exception) else ConnectionAbortedError()
            )
            copy.path.exception()  # retrieved, also if nobody else waits
            raise
        copy.path.set_result(str(path))

    def _leave(self, copy: _Copy) -> None:
        with self._lock:
            copy.users -= 1
            copy.since = time.monotonic()
            if self._timer is None:
                self._schedule()

    def _schedule(self) -> None:
        self._timer = threading.Timer(self._idle_seconds, self._remove_unused)
        self._timer.daemon = True
        self._timer.start()

    def _remove_unused(self) -> None:
        latest = time.monotonic() - self._idle_seconds
        with self._lock:
            unused = [
                document
                for document, copy in self._copies.items()
                if not copy.users and copy.since <= latest
            ]
            for document in unused:
                Path(self._copies.pop(document).path.result()).unlink(missing_ok=True)
            self._timer = None
            if self._copies:
                self._schedule()
