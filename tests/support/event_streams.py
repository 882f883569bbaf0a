"""A client of the ASGI application that reads server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from asgiref.testing import ApplicationCommunicator

TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Received:
    """A received event."""

    kind: str
    id: str
    data: Any


def parsed(text: str) -> tuple[list[Received], str]:
    """Return the complete events of a text, and the incomplete remainder."""
    *blocks, rest = text.split("\n\n")
    events = []
    for block in blocks:
        fields = dict(
            line.split(": ", 1)
            for line in block.split("\n")
            if not line.startswith(":")
        )
        if "data" in fields:
            data = json.loads(fields["data"])
            events.append(Received(fields["event"], fields.get("id", ""), data))
    return events, rest


@dataclass(slots=True)
class Connection:
    """An open response, as the client sees it."""

    communicator: Any
    status: int
    headers: Mapping[str, str]
    comments: int = 0
    is_ended: bool = False
    _text: str = ""
    _events: list[Received] = field(default_factory=list)

    async def next(self) -> Received:
        """Return the next event."""
        while not self._events:
            assert not self.is_ended, "the stream has ended"
            await self._read()
        return self._events.pop(0)

    async def rest(self) -> list[Received]:
        """Return all events to the end of the stream."""
        while not self.is_ended:
            await self._read()
        found, self._events = self._events, []
        return found

    async def body(self) -> Any:
        """Return the parsed JSON body of a response that is not a stream."""
        while not self.is_ended:
            await self._read(keep=True)
        return json.loads(self._text)

    async def heartbeat(self) -> None:
        """Return after the next comment."""
        before = self.comments
        while self.comments == before:
            await self._read()

    async def _read(self, *, keep: bool = False) -> None:
        message = await self.communicator.receive_output(timeout=TIMEOUT_SECONDS)
        text = message.get("body", b"").decode()
        self.comments += text.startswith(":")
        self._text += text
        if not keep:
            events, self._text = parsed(self._text)
            self._events += events
        self.is_ended = not message.get("more_body", False)


@asynccontextmanager
async def connected(
    application: Any,
    path: str,
    secret: str = "",
    *,
    method: str = "GET",
    **headers: str,
) -> AsyncIterator[Connection]:
    """Send a request; disconnect at the end."""
    given = {"host": "localhost", "authorization": f"Bearer {secret}", **headers}
    if not secret:
        del given["authorization"]
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.replace("_", "-").encode(), value.encode())
            for name, value in given.items()
        ],
        "client": ["127.0.0.1", 1],
        "server": ["localhost", 80],
    }
    make: Any = ApplicationCommunicator  # it has no types
    communicator = make(application, scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(timeout=TIMEOUT_SECONDS)
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    connection = Connection(communicator, start["status"], found)
    try:
        yield connection
    finally:
        if not connection.is_ended:
            await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(timeout=TIMEOUT_SECONDS)
