"""Streamed downloads of any length in constant memory, a few of them at once.

A download that reads rows takes as much time from the pages of its process as it gets. So
their number is limited, and they pause between their chunks: together they use half the time
of one thread while pages are rendered, and four fifths otherwise.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from workflows.errors import TooManyDownloads
from workflows.infra.database_threads import run_in_db

if TYPE_CHECKING:
    from django.http import HttpRequest

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Slots:
    """How many downloads of this process are in progress, or how many pages."""

    def __init__(self, limit: int, what: str = "exports") -> None:
        self._limit, self._lock, self.used = limit, threading.Lock(), 0
        self._what = what

    def acquire(self) -> None:
        """Count one more. Raises TooManyDownloads."""
        with self._lock:
            if self.used >= self._limit:
                raise TooManyDownloads(self._what)
            self.used += 1

    def release(self) -> None:
        """Count one less."""
        with self._lock:
            self.used -= 1


slots = Slots(settings.MAX_EXPORTS)  # downloads of this process
rendering = Slots(sys.maxsize)  # pages of this process


class Chunks:
    """The content of a download, which takes a slot until it was read or dropped."""

    def __init__(self, chunks: AsyncIterator[str]) -> None:
        """Take a slot. Raises TooManyDownloads."""
        slots.acquire()
        self._chunks = chunks
        # also if it is never read, because the client disconnected first
        self.close = weakref.finalize(self, slots.release)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the chunks, and release the slot after the last one."""
        try:
            async for chunk in self._chunks:
                yield chunk
        finally:
            self.close()


async def read_paced(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Call a function that reads rows in a thread, then leave time to others."""
    began = time.perf_counter()
    result = await run_in_db(function, *args, **kwargs)
    took = time.perf_counter() - began
    downloads = max(slots.used, 1)
    share = 2 if rendering.used else 1.25
    await asyncio.sleep(took * (share * downloads - 1))
    return result


def streamed(
    request: HttpRequest,
    chunks: Callable[[], Iterator[str]],
    *,
    name: str,
    content_type: str,
) -> StreamingHttpResponse:
    """Return a download of text chunks; each is read once the previous one is sent.

    Raises TooManyDownloads.
    """
    is_async = isinstance(request, ASGIRequest)
    content = Chunks(_awaited(chunks())) if is_async else chunks()
    response = StreamingHttpResponse(content, content_type=content_type)
    disposition = content_disposition_header(as_attachment=True, filename=name)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response


async def _awaited(chunks: Iterator[str]) -> AsyncIterator[str]:
    """Yield the items of an iterator that queries the database, from a thread."""
    while (chunk := await read_paced(next, chunks, None)) is not None:
        yield chunk
