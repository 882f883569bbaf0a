"""A TCP proxy that breaks connections on request, one route at a time.

A route leads from a separate port to a server, so that each process under test has separate
routes and can be disconnected alone. The proxy does not parse the protocol.

    cut          close every connection, with a reset
    refuse       close new connections at once
    silence      forward nothing in one direction, or in both; connections stay open, and
                 what was held back is forwarded when the fault is over
    delay        wait before each chunk is forwarded
    throttle     forward so many bytes in a second
    swallow      forward the next request that writes, drop the reply, then cut: the server
                 executed it, and the client does not know

Faults are set from any thread; the proxy serves on an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

CHUNK_BYTES: Final = 65_536
JOIN_SECONDS: Final = 10.0
WRITES: Final = (b"COMMIT", b"INSERT", b"UPDATE", b"PUBLISH", b"ZADD", b"EVAL")
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Address = tuple[str, int] | Path  # of a server; the path is that of a socket


@dataclass(eq=False)
class Link:
    """One connection of a client, and the one to the server behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    drops_reply: bool = False
    pumps: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self) -> None:
        """Close both ends at once."""
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                with suppress(OSError):  # it is closed already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def stop(self) -> None:
        """Stop forwarding, and drop withheld bytes."""
        for pump in self.pumps:
            pump.cancel()


@dataclass(eq=False)
class Route:
    """A route from a port to a server, with its faults."""

    server: Address
    links: set[Link] = field(default_factory=set)
    refuses: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: float = 0.0  # 0: unlimited
    swallows: int = 0  # requests whose replies are still to be dropped
    swallowed: int = 0  # so far
    # set while bytes flow to the server, and to the client
    up: asyncio.Event = field(default_factory=asyncio.Event)
    down: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.up.set()
        self.down.set()

    async def serve(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        """Forward a connection until one end closes it."""
        try:
            if self.refuses:
                return
            server_reader, server = await self._connect()
        except OSError:
            return
        else:
            link = Link(client, server)
            self.links.add(link)
            link.pumps = [
                asyncio.create_task(self._send_up(reader, link)),
                asyncio.create_task(self._send_down(server_reader, link)),
            ]
            await asyncio.wait(link.pumps, return_when=asyncio.FIRST_COMPLETED)
            link.stop()
            await asyncio.gather(*link.pumps, return_exceptions=True)
            self.links.discard(link)
            server.close()
        finally:
            client.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.server, Path):
            return await asyncio.open_unix_connection(self.server)
        return await asyncio.open_connection(*self.server)

    async def _send_up(self, reader: asyncio.StreamReader, link: Link) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self.up.wait()
                await self._slow_down(data)
                if self.swallows and any(word in data for word in WRITES):
                    self.swallows -= 1
                    link.drops_reply = True
                link.server.write(data)
                await link.server.drain()

    async def _send_down(self, reader: asyncio.StreamReader, link: Link) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self.down.wait()
                await self._slow_down(data)
                if link.drops_reply:
                    self.swallowed += 1
                    link.reset()
                    return
                link.client.write(data)
                await link.client.drain()

    async def _slow_down(self, data: bytes) -> None:
        seconds = self.delay_seconds
        if self.bytes_per_second:
            seconds += len(data) / self.bytes_per_second
        if seconds:
            await asyncio.sleep(seconds)


class Proxy:
    """Routes by name, and the faults of each."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_SECONDS)
        self._loop.close()

    def listen(self, name: str, server: Address) -> int:
        """Return the port of a new route."""
        return int(self._call(self._listen(name, server)))

    def cut(self, name: str) -> None:
        """Reset the connections of a route."""
        self._set(name, _cut)

    def refuse(self, name: str) -> None:
        """Reset the connections of a route, and accept no new ones."""
        self._set(name, _cut, refuses=True)

    def silence(self, name: str, *, up: bool = True, down: bool = True) -> None:
        """Forward nothing to the server, to the client, or in both directions."""

        def silence(route: Route) -> None:
            if up:
                route.up.clear()
            if down:
                route.down.clear()

        self._set(name, silence)

    def delay(self, name: str, seconds: float) -> None:
        """Delay each chunk of bytes."""
        self._set(name, delay_seconds=seconds)

    def throttle(self, name: str, bytes_per_second: float) -> None:
        """Forward only so many bytes in a second, in each direction."""
        self._set(name, bytes_per_second=bytes_per_second)

    def swallow(self, name: str, requests: int = 1) -> None:
        """Drop the replies to the next requests that write, and the connections with them."""
        self._set(name, swallows=requests)

    def heal(self, name: str) -> None:
        """End every fault of a route."""

        def flow(route: Route) -> None:
            route.up.set()
            route.down.set()

        self._set(
            name,
            flow,
            refuses=False,
            delay_seconds=0.0,
            bytes_per_second=0.0,
            swallows=0,
        )

    def _set(
        self,
        name: str,
        change: Callable[[Route], None] = lambda _: None,
        **values: object,
    ) -> None:
        async def apply() -> None:
            for field_name, value in values.items():
                setattr(self.routes[name], field_name, value)
            change(self.routes[name])

        self._call(apply())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(JOIN_SECONDS)

    async def _listen(self, name: str, server: Address) -> int:
        route = self.routes[name] = Route(server)
        listener = await asyncio.start_server(route.serve, "127.0.0.1", 0)
        self._servers.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for route in self.routes.values():
            for link in route.links:
                link.stop()
        # Each connection ends after its pumps are stopped.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)


def _cut(route: Route) -> None:
    for link in route.links:
        link.reset()
