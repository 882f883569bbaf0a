"""Connections of the web server, with limits on their number, their silence and their pace.

uvicorn limits neither: a client that sends a header a second, or reads nothing, keeps its
connection for ever. These subclasses of its protocols close such connections. A server that
is full closes the connection that has been idle for longest, as nginx does, so that idle
connections do not exclude new clients. A connection with a request is never closed for another one:
`project.admission` limits requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from workflows.infra.token_bucket import Bucket

TOO_MANY_MESSAGES = 4429  # the close code of workflows/pages/live/close_codes.py

READ_BYTES = 16_384  # read at once, so that one connection does not occupy the loop
FRAME_BYTES = 1_024  # parsed at once: up to 170 frames, before they are counted
STALLED_SECONDS = (
    60.0  # in which a client that is sent something has to read some of it
)
GRACE_SECONDS = 1.0  # at shutdown, for a connection that has not sent its request yet
BURST_SECONDS = 4  # messages of as many seconds are accepted at once


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of the connections of one process."""

    connections: int = 1_000
    per_address: int = 0  # 0: no limit, for a server behind a proxy
    head_seconds: float = (
        10.0  # from the first byte of a request to the end of its headers
    )
    idle_seconds: float = 30.0  # before the first and between two requests
    messages_per_second: int = 50  # frames of a websocket


class Connections(ServerState):
    """All connections of the server, and those without a request by address, oldest first."""

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__()
        self.limits = limits
        self.is_leaving = False
        self._idle: dict[Connection, None] = {}
        self._addresses: Counter[str] = Counter()
        self._idle_of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)

    def admit(self, connection: Connection) -> None:
        """Count a new connection; close the oldest idle one if there are too many."""
        address = connection.address
        self._addresses[address] += 1
        self.set_idle(connection, is_idle=True)
        most = self.limits.per_address
        if most and self._addresses[address] > most:
            self._close(next(iter(self._idle_of[address])), unless=connection)
        elif len(self.connections) > self.limits.connections:
            self._close(next(iter(self._idle)))

    def set_idle(self, connection: Connection, *, is_idle: bool) -> None:
        """Note that a connection waits for a request, or no longer does."""
        of_address = self._idle_of[connection.address]
        for idle in (self._idle, of_address):
            if is_idle:
                idle[connection] = None
            else:
                idle.pop(connection, None)
        if not of_address:
            del self._idle_of[connection.address]

    def forget(self, address: str) -> None:
        """Count no longer a connection that is closed."""
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def _close(self, oldest: Connection, unless: Connection | None = None) -> None:
        if oldest is not unless:
            self.set_idle(oldest, is_idle=False)
            oldest.transport.abort()


class WriteTimeout:
    """Closes a connection whose client reads nothing of what it is sent."""

    _stalled: asyncio.TimerHandle | None = None
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def pause_writing(self) -> None:
        """Called by the transport when its buffer is full."""
        super().pause_writing()  # type: ignore[misc] # of uvicorn's protocol
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Called by the transport when the client has read most of it."""
        self.stop_timeout()
        super().resume_writing()  # type: ignore[misc] # likewise

    def stop_timeout(self) -> None:
        """Cancel the timeout: the client reads, or is gone."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class Connection(WriteTimeout, H11Protocol):
    """An HTTP connection whose requests have to arrive in time."""

    server_state: Connections
    _deadline: asyncio.TimerHandle | None = None
    _has_received = False

    @property
    def address(self) -> str:
        """IP address of the peer: of the proxy, behind one."""
        return self.client[0] if self.client else ""

    @property
    def _awaits_request(self) -> bool:
        """Whether the headers of the next request are not complete."""
        return self.conn.their_state is h11.IDLE

    @property
    def _last_cycle(self) -> RequestResponseCycle | None:
        """The request in progress or the last one, None before the first."""
        return self.cycle

    @property
    def _is_free(self) -> bool:
        """Whether no response is in progress."""
        cycle = self._last_cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and give it time for its first request."""
        transport.max_size = READ_BYTES  # type: ignore[attr-defined] # of selector transports
        super().connection_made(transport)
        self.server_state.admit(self)
        self._close_in(self.server_state.limits.idle_seconds)
        if self.server_state.is_leaving:
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Start the timeout with the first byte of a request, stop it with its headers."""
        is_first = self._awaits_request and not self.conn.trailing_data[0]
        self._has_received = True
        super().data_received(data)
        cycle = self._last_cycle
        if self.server_state.is_leaving and cycle is not None:
            cycle.keep_alive = False
        if self._awaits_request:
            if is_first:
                self._close_in(self.server_state.limits.head_seconds)
        elif self._is_free:
            return  # the rest of a body that was refused has to arrive in time
        else:
            self._stop_deadline()
            self.server_state.set_idle(self, is_idle=False)

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn's own timeout closes silent connections."""
        super().on_response_complete()
        if self.transport.is_closing() or not self._is_free:
            return
        self.server_state.set_idle(self, is_idle=True)
        if not self._awaits_request or self.conn.trailing_data[0]:
            self._close_in(self.server_state.limits.head_seconds)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Give the transport to a websocket, which is counted instead."""
        self._stop_deadline()
        self.server_state.set_idle(self, is_idle=False)
        super().handle_websocket_upgrade(event)

    def shutdown(self) -> None:
        """Close after the response in progress, or after a while without a request.

        A proxy may just have opened the connection, and sends a form only once.
        """
        is_sending = self._awaits_request and self.conn.trailing_data[0]
        if self._is_free and (is_sending or not self._has_received):
            self.loop.call_later(GRACE_SECONDS, self._close_silent)
        else:
            super().shutdown()

    def _close_silent(self) -> None:
        if not self.transport.is_closing() and self._is_free:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self._stop_deadline()
        self.stop_timeout()
        self.server_state.set_idle(self, is_idle=False)
        self.server_state.forget(self.address)
        super().connection_lost(exc)

    def _close_in(self, seconds: float) -> None:
        self._stop_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class LimitedSocket(WriteTimeout, WebSocketsSansIOProtocol):
    """A websocket that closes with TOO_MANY_MESSAGES when it is flooded.

    uvicorn reads no more while a message waits for the application. Frames that never
    reach it, such as pings, and all frames of one read are parsed nevertheless: they are
    counted here.
    """

    def __init__(
        self, config: Any, server_state: Connections, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(config, server_state, *args, **kwargs)
        self._state = server_state
        rate = server_state.limits.messages_per_second
        now = self.loop.time()
        self._bucket = Bucket(rate, seconds=BURST_SECONDS, now=now)

    def data_received(self, data: bytes) -> None:
        """Parse a little at a time, until there were too many frames."""
        for start in range(0, len(data), FRAME_BYTES):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + FRAME_BYTES])

    def handle_text(self, event: Frame) -> None:
        """Count a frame."""
        if self._count():
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Count a frame."""
        if self._count():
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Count a frame."""
        if self._count():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Count a frame."""
        if self._count():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Count a frame."""
        if self._count():
            super().handle_pong(event)

    def _count(self) -> bool:
        """Count a frame; close the websocket if it is one too many."""
        if self._bucket.take(self.loop.time()):
            return True
        if not self.transport.is_closing():
            self._close_flooded()
        return False

    def _close_flooded(self) -> None:
        reason = "Too many messages."
        self.queue.put_nowait(
            {
                "type": "websocket.disconnect",
                "code": TOO_MANY_MESSAGES,
                "reason": reason,
            }
        )
        if not self.close_sent:
            self.conn.send_close(TOO_MANY_MESSAGES, reason)
            self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()
        self.disconnected = True  # for an application that sends now
        # A client that floods may read nothing: its close frame is not waited for.
        self._stalled = self.loop.call_later(GRACE_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self.stop_timeout()
        self._state.forget(self.client[0] if self.client else "")
        super().connection_lost(exc)
