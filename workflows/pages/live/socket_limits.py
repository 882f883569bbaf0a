"""Limits on websockets: how many a process and a person have, and how many messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from workflows.infra.token_bucket import Bucket
from workflows.pages.live.close_codes import TOO_MANY_MESSAGES

Application = Callable[..., Awaitable[None]]
Message = MutableMapping[str, Any]

logger = logging.getLogger(__name__)

BURST_SECONDS = 4  # messages of as many seconds are accepted at once
PERSON_SHARE = 4  # all sockets of a person together: messages of as many sockets
TOO_MANY_REQUESTS, UNAVAILABLE = 429, 503
RETRY_SECONDS = b"5"


@dataclass(slots=True)
class _Person:
    """The sockets of a person."""

    bucket: Bucket
    sockets: set[_Socket] = field(default_factory=set)


class SocketLimits:
    """Counts the websockets of one process; 0 sets no limit of their number."""

    def __init__(
        self, *, sockets: int, per_person: int, messages_per_second: int
    ) -> None:
        self._most, self._per_person = sockets, per_person
        self._messages = messages_per_second
        self._open = 0
        self._people: dict[object, _Person] = {}

    def of_process(self, application: Application) -> Application:
        """Wrap an application to refuse the handshakes of websockets above the limit, with 503.

        A client whose handshake is refused reconnects with increasing delay.
        """

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            if self._most and self._open >= self._most:
                await _refuse(scope, receive, send, UNAVAILABLE)
                return
            self._open += 1
            try:
                await application(scope, receive, send)
            finally:
                self._open -= 1

        return serve

    def of_people(self, application: Application) -> Application:
        """Wrap an application, below authentication, to limit each person.

        Handshakes above the limit are refused with 429. Too many messages close
        the websocket with TOO_MANY_MESSAGES.
        """

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            key = scope["user"].pk
            if key is None:  # refused by the consumer
                await application(scope, receive, send)
                return
            person = self._people.setdefault(key, _Person(self._bucket(PERSON_SHARE)))
            if self._per_person and len(person.sockets) >= self._per_person:
                await _refuse(scope, receive, send, TOO_MANY_REQUESTS)
                return
            socket = _Socket(self._bucket(), person, receive, send)
            person.sockets.add(socket)
            try:
                await application(scope, socket.receive, socket.send)
            finally:
                person.sockets.discard(socket)
                if not person.sockets:
                    self._people.pop(key, None)

        return serve

    def _bucket(self, share: int = 1) -> Bucket:
        now = asyncio.get_running_loop().time()
        return Bucket(self._messages * share, seconds=BURST_SECONDS, now=now)


class _Socket:
    """One websocket, whose messages are counted."""

    def __init__(
        self, bucket: Bucket, person: _Person, receive: Any, send: Any
    ) -> None:
        self._own, self._person = bucket, person.bucket
        self._receive, self._send = receive, send
        self._is_closed = False

    async def receive(self) -> Message:
        """Return the next message; close the websocket when there are too many."""
        message: Message = await self._receive()
        if message["type"] == "websocket.receive" and not self._is_within_limits():
            logger.warning("A websocket was closed: too many messages.")
            await self.send({"type": "websocket.close", "code": TOO_MANY_MESSAGES})
            message = {"type": "websocket.disconnect", "code": TOO_MANY_MESSAGES}
        if message["type"] == "websocket.disconnect":
            self._is_closed = True
        return message

    async def send(self, message: Message) -> None:
        """Send a message, unless the client has disconnected.

        uvicorn raises OSError then, which ASGI 2.4 permits, and Daphne does not. The
        application is informed by the next message that it receives.
        """
        if self._is_closed:
            return
        try:
            await self._send(message)
        except OSError:
            self._is_closed = True

    def _is_within_limits(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._own.take(now) and self._person.take(now)


async def _refuse(scope: Any, receive: Any, send: Any, status: int) -> None:
    """Refuse the handshake with a status, or with 403 if the server supports no other."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"Retry-After", RETRY_SECONDS), (b"Content-Length", b"0")]
    start = {"type": "websocket.http.response.start", "status": status}
    await send({**start, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})
