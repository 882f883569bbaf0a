"""Streams of server-sent events: they follow a source until it, or access to it, ends.

A stream has no queue. A notification only says that the source may have changed; its next
event is read when the client has taken the last one. A slow client therefore gets fewer and
larger events, and one that reads nothing is disconnected by the server
(`project/connection_limits.py`). The request has left its place in the admission by then, since
its response has begun (`project/admission.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse

from workflows.api.live import frames
from workflows.api.live.frames import Closing, Event
from workflows.api.live.limits import streams
from workflows.errors import RunNotFound
from workflows.infra import outages
from workflows.infra.database_threads import run_in_db
from workflows.infra.outages import ChannelLayerUnavailable
from workflows.pages.live.broadcast import hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from django.http import HttpRequest

    from workflows.api.live.viewers import Viewer

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 15.0  # between comments, and between checks of permissions
LIFETIME_SECONDS: Final = 900.0  # after which a client connects again

RUN_ENDED = Closing("run_ended", "The run has ended, and this is its whole history.")
LIFETIME = Closing("lifetime", "Connect again to continue.", frames.RETRY_SECONDS)
DRAINING = Closing(
    "shutting_down", "The server is shutting down. Connect again.", frames.RETRY_SECONDS
)
UNAUTHORIZED = Closing(
    "unauthorized", "The token was revoked or has expired, or the session has ended."
)
GONE = Closing("run_not_found", str(RunNotFound.__doc__))
CHANGED = Closing(
    "permissions_changed",
    "Your permissions on this run have changed. Connect again without Last-Event-ID.",
)
OUTAGE = Closing(
    "unavailable",
    "The server can’t reach its database or channel layer. Connect again.",
    frames.OUTAGE_SECONDS,
)
FAILED = Closing(
    "internal_error", "The server failed; the error was logged.", frames.OUTAGE_SECONDS
)
SNAPSHOT = Closing(
    "snapshot", "The server does not stream. Connect again.", frames.RETRY_SECONDS
)


class Source(Protocol):
    """What a stream follows; its methods query the database."""

    topic: str  # of notifications
    pause_seconds: float  # minimum interval between two events

    @property
    def is_over(self) -> bool:
        """Whether there will be no more events."""

    def read(self) -> Event | None:
        """Return the next event, None if there is nothing new. Raises RunNotFound."""

    def is_same_access(self) -> bool:
        """Return whether what the viewer may see is unchanged. Raises RunNotFound."""


class Stream:
    """One open connection: an iterable of the text of events, to be read once."""

    def __init__(self, source: Source, viewer: Viewer, first: Event | None) -> None:
        """Count the stream. `first` was read already. Raises TooManyStreams."""
        self._source, self._viewer, self._first = source, viewer, first
        self._wake = asyncio.Event()
        self._is_draining = self._must_check = self._has_joined = False
        self._closing: Closing | None = None
        self._checked = time.monotonic()  # the access of the viewer
        self._until = self._checked + LIFETIME_SECONDS
        # Django calls it at the end of the response
        self.close = streams.acquire(viewer, self)

    def note(self, message: Mapping[str, Any]) -> None:
        """Read the source again, and after a change of permissions check access."""
        if message.get("person") is not None:
            return  # it concerns what lists show on pages
        self._must_check = self._must_check or bool(message.get("permissions"))
        self._wake.set()

    def drain(self) -> None:
        """End the stream, because the server shuts down."""
        self._is_draining = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the text of events; the last one says why the stream ends."""
        try:
            yield frames.retry(frames.RETRY_SECONDS)
            async for text in self._follow():
                yield text
            assert self._closing is not None  # noqa: S101 - it ended the loop
            yield self._closing.frame()
        finally:
            self.close()
            if self._has_joined:
                await hub.leave(self._source.topic, self)

    async def _follow(self) -> AsyncIterator[str]:
        """Yield the text of events until there is a reason to end."""
        if self._first is not None:
            yield self._first.frame()
        await self._attempt(self._join)
        while self._closing is None:
            self._wake.clear()
            event = await self._attempt(partial(run_in_db, self._source.read))
            if (
                self._is_check_due
            ):  # after reading: access must hold for all that is sent
                await self._attempt(self._check_access)
            if self._closing is not None:
                return
            if event is not None:
                yield event.frame()
            self._closing = self._end()
            if self._closing is None and not (event and event.has_more):
                await asyncio.sleep(self._source.pause_seconds if event else 0)
                if not await self._is_woken():
                    yield frames.HEARTBEAT

    def _end(self) -> Closing | None:
        """Return why the stream ends now, None if it continues."""
        if self._is_draining:
            return DRAINING
        if self._source.is_over:
            return RUN_ENDED
        return LIFETIME if time.monotonic() >= self._until else None

    async def _attempt(self, call: Callable[[], Awaitable[Result]]) -> Result | None:
        """Await a call; an error ends the stream."""
        try:
            return await call()
        except Exception as error:
            self._closing = _closing_of(error)
        return None

    async def _join(self) -> None:
        await hub.join(self._source.topic, self)
        self._has_joined = True
        streams.add(self)

    async def _is_woken(self) -> bool:
        """Wait for a notification; return False if there was none for a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), HEARTBEAT_SECONDS)
        return self._wake.is_set()

    @property
    def _is_check_due(self) -> bool:
        since = time.monotonic() - self._checked
        return self._must_check or since >= HEARTBEAT_SECONDS

    async def _check_access(self) -> None:
        self._must_check = False
        self._checked = time.monotonic()
        if not await run_in_db(self._viewer.reload):
            self._closing = UNAUTHORIZED
        elif not await run_in_db(self._source.is_same_access):
            self._closing = CHANGED


def _closing_of(error: Exception) -> Closing:
    """Return the last event of a stream that failed."""
    if isinstance(error, RunNotFound):
        return GONE
    outage = outages.messages if isinstance(error, ChannelLayerUnavailable) else None
    outage = outage or outages.of(error)
    if outage is None:
        logger.error("A stream of events failed.", exc_info=error)
        return FAILED
    outage.report_failure(error)
    return OUTAGE


def respond(
    request: HttpRequest, source: Source, viewer: Viewer
) -> HttpResponse | StreamingHttpResponse:
    """Return a stream of events, or 204 if the client has all that there will be.

    An EventSource does not connect again after 204. Under WSGI the response is what is new
    now. Raises RunNotFound, TooManyStreams.
    """
    first = source.read()
    if first is None and source.is_over:
        return HttpResponse(status=204)
    is_async = isinstance(request, ASGIRequest)
    content = Stream(source, viewer, first) if is_async else _snapshot(source, first)
    response = StreamingHttpResponse(content, content_type=frames.CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # of nginx, which would hold events back
    return response


def _snapshot(source: Source, first: Event | None) -> Iterator[str]:
    event = first
    while event is not None:
        yield event.frame()
        event = source.read() if event.has_more else None
    yield (RUN_ENDED if source.is_over else SNAPSHOT).frame()
