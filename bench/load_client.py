"""A minimal HTTP/1.1 and websocket client for load tests, and a probe of liveness.

It is raw sockets on purpose: a full client library would use more of the two cores than
the server that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PROBE_SECONDS = 0.05  # between two probes
ANSWER_SECONDS = 60.0  # that a request waits for its response


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one request; status 0: no response."""

    status: int
    seconds: float
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Target:
    """A server and the cookies of a signed-in user."""

    def __init__(self, url: str, cookies: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.cookies = cookies

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection(self.host, self.port, limit=2**22)

    def head(self, path: str, method: str = "GET", **headers: str) -> bytes:
        """Return the head of a request; underscores in header names become hyphens."""
        given = {"Host": f"{self.host}:{self.port}", "Cookie": self.cookies}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *map(": ".join, given.items()), "", ""]
        return "\r\n".join(lines).encode()

    async def get(self, path: str) -> Reply:
        """Request a page on a separate connection."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await self.connect()
                try:
                    writer.write(self.head(path, Connection="close"))
                    status, headers = await read_head(reader)
                    body = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, EOFError, ValueError):  # TimeoutError is an OSError
            return Reply(0, time.perf_counter() - began)
        return Reply(status, time.perf_counter() - began, body, headers)

    async def open_socket(
        self, path: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a websocket. Raises ConnectionError if it is refused."""
        reader, writer = await self.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            self.head(
                path,
                Connection="Upgrade",
                Upgrade="websocket",
                Origin=self.url,
                Sec_WebSocket_Version="13",
                Sec_WebSocket_Key=key,
            )
        )
        status, _ = await read_head(reader)
        if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            writer.close()
            raise ConnectionError(f"The websocket was refused with {status}.")
        return reader, writer


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read status and headers of a response. Raises EOFError if there is none."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = text.strip().split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return int(first.split()[1]), {n.lower(): v.strip() for n, _, v in pairs}


def masked_text(text: bytes) -> bytes:
    """Return a text frame of a client, of at most 125 bytes, masked with zeros."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


@contextmanager
def liveness(url: str) -> Iterator[list[float]]:
    """Probe `/health/live` from another process; the list has the seconds at the end.

    A probe that fails counts as ANSWER_SECONDS.
    """
    found: list[float] = []
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    probe = context.Process(target=_probe, args=(url, theirs), daemon=True)
    probe.start()
    ours.recv()  # it has begun
    try:
        yield found
    finally:
        ours.send(None)
        found += ours.recv()
        probe.join()


def _probe(url: str, pipe: multiprocessing.connection.Connection) -> None:
    found: list[float] = []
    place = urlsplit(url)
    pipe.send(None)
    while not pipe.poll(PROBE_SECONDS):
        began = time.perf_counter()
        connection = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=ANSWER_SECONDS
        )
        is_live = False
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health/live")
            is_live = connection.getresponse().status == http.HTTPStatus.OK
        connection.close()
        found.append(time.perf_counter() - began if is_live else ANSWER_SECONDS)
    pipe.send(found)
