"""Admission of requests: how many are processed at once, and what their bodies may be.

The outermost ASGI application. `/health/live` is answered here, before anything that could
be waited for. Every other request needs a place in a lane: pages, static files and checks
have their own. A request that finds the queue of its lane full, or waits too long, gets 503
at once. A place is taken when the body is complete and left when the response begins, so
that neither a slow sender nor a slow reader holds one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from project.body_limits import Bodies, Body
from project.refusal_statuses import Refusal, busy

if TYPE_CHECKING:
    from django.http import HttpResponse

    # from the refusal, the scope and the headers of the request
    Respond = Callable[
        [Refusal, MutableMapping[str, Any], Mapping[str, str]], HttpResponse
    ]

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LIVE = "/health/live"
CHECKS = ("/health/", "/metrics")
LIVE_BODY = b'{"status": "ok"}'
DISCONNECT: Message = {"type": "http.disconnect"}


class Full(Exception):
    """A lane has no place, and its queue is full or too slow."""


class Lane:
    """Slots, and a queue of limited length in which no request waits longer than `seconds`.

    It belongs to one event loop.
    """

    def __init__(self, places: int, *, queue: int, seconds: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._queue, self._seconds = queue, seconds
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether a request would be refused at once."""
        return self._waiting >= self._queue and self._places.locked()

    async def enter(self) -> None:
        """Take a place; raise Full if there is none in time."""
        if self.is_full:
            raise Full
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            raise Full from None
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()


@dataclass(frozen=True)
class Lanes:
    """The lanes of one process, by the paths that use them."""

    pages: Lane
    files: Lane  # static files, which need no database
    checks: Lane
    files_prefix: str

    def of(self, path: str) -> Lane:
        """Return the lane of a path."""
        if path.startswith(self.files_prefix):
            return self.files
        return self.checks if path.startswith(CHECKS) else self.pages


class Admission:
    """An ASGI application that lets requests into another one; see the module."""

    def __init__(
        self, application: Application, lanes: Lanes, bodies: Bodies, respond: Respond
    ) -> None:
        """`respond` returns the response to a request that is refused."""
        self._application, self._lanes = application, lanes
        self._bodies, self._respond = bodies, respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; other protocols pass."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
        elif scope["path"] == LIVE and scope["method"] in {"GET", "HEAD"}:
            await _answer_live(send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        lane = self._lanes.of(scope["path"])
        if lane.is_full and scope["method"] in {"GET", "HEAD"}:
            # before Django's work for a request, which takes most of a millisecond
            await self._refuse(busy(), scope, send)
            return
        with self._bodies.body(scope, receive) as body:
            request = _Request(scope, body, lane, send)
            try:
                await self._application(scope, request.receive, request.send)
            finally:
                request.leave()
        if request.refusal is not None:
            await self._refuse(request.refusal, scope, send)

    async def _refuse(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        pairs = scope["headers"]
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in pairs}
        response = self._respond(refusal, scope, headers)
        given = [(n.encode(), v.encode("latin-1")) for n, v in response.items()]
        given.append((b"Content-Length", str(len(response.content)).encode()))
        start = {"type": "http.response.start", "status": response.status_code}
        await send({**start, "headers": given})
        await send({"type": "http.response.body", "body": response.content})


class _Request:
    """One request on its way through the application."""

    def __init__(self, scope: Scope, body: Body, lane: Lane, send: Send) -> None:
        self.refusal: Refusal | None = (
            None  # the response, instead of the application's
        )
        self._scope, self._body, self._lane, self._send = scope, body, lane, send
        self._has_slot = self._is_complete = False
        self._began = time.perf_counter()
        self._status = 0

    async def receive(self) -> Message:
        """Return the next part of the body, the last one when there is a place.

        A refused request looks disconnected to the application, which ends it.
        """
        if self.refusal is not None:
            return DISCONNECT
        try:
            message = await self._body.receive()
            if not self._is_complete and self._body.is_complete:
                self._is_complete = True
                await self._acquire_slot(message)
        except Refusal as refusal:
            self.refusal = refusal
            return DISCONNECT
        return message

    async def _acquire_slot(self, message: Message) -> None:
        if message["type"] != "http.request":
            return  # disconnected
        try:
            await self._lane.enter()
        except Full:
            raise busy() from None
        self._has_slot = True

    async def send(self, message: Message) -> None:
        """Leave the lane when the response begins."""
        if message["type"] == "http.response.start":
            self.leave()
            self._status = message["status"]
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._log()

    def leave(self) -> None:
        """Give the place back, if there is one."""
        if self._has_slot:
            self._has_slot = False
            self._lane.leave()

    def _log(self) -> None:
        logger.debug(
            "%s %s %s in %.0f ms",
            self._status,
            self._scope["method"],
            self._scope["path"],
            (time.perf_counter() - self._began) * 1000,
        )


async def _answer_live(send: Send) -> None:
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(len(LIVE_BODY)).encode()),
        (b"Cache-Control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": LIVE_BODY})
