"""The web server: uvicorn, with an embedded worker and a graceful shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import uvicorn

from project.connection_limits import (
    Connection,
    ConnectionLimits,
    Connections,
    LimitedSocket,
)
from workflows.engine.protected_loop import ResilientLoop

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10  # for requests in progress
BACKLOG = 512  # connections that the system accepts before the server does
ACCEPTS = 16  # of them in a turn of the event loop, so that others have their turn
HEAD_BYTES = 64_000  # of a request: its line and its headers
PING_SECONDS, PONG_SECONDS = 20, 30
OTHER_FILES = 500  # open files beside connections: database, uploads, nodes, pipes


class Works(Protocol):
    """What the server asks of the worker it embeds."""

    async def run(self) -> None:
        """Work until drained."""

    async def drain(self) -> None:
        """Claim no more runs, and return when those in progress are finished or released."""


class Server(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, then shuts down gracefully: see `shutdown`.

    After `run`, `failure` is empty, or the message why it could not start or continue.
    """

    def __init__(  # noqa: PLR0913 - all of them are needed, and named
        self,
        application: Callable[..., Awaitable[None]],
        *,
        host: str,
        port: int,
        limits: ConnectionLimits,
        max_socket_bytes: int,
        worker: Callable[[], Works] | None,
        write: Callable[[str], object],
        end_streams: Callable[[], object] = lambda: None,
    ) -> None:
        """`write` gets the messages for the operator; `end_streams` is called at shutdown."""
        config = uvicorn.Config(
            application,
            http=Connection,
            ws=LimitedSocket,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # see project.forwarded_addresses
            backlog=ACCEPTS,
            server_header=False,
            headers=[("Server", "signalbox")],
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            ws_max_size=max_socket_bytes,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PONG_SECONDS,
            ws_per_message_deflate=False,  # a small message could unpack to a large one
        )
        super().__init__(config)
        self.server_state: Connections = Connections(limits)
        self.failure = ""
        self._host, self._port = host, port
        self._listener: socket.socket | None = None
        self._make_worker = worker
        self._worker: Works | None = None
        self._working: asyncio.Task[None] | None = None
        self._write = write
        self._end_streams = end_streams

    # -- start ------------------------------------------------------------------------

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. Returns when stopped, or at once when it cannot listen."""
        del sockets  # it opens its own
        limits = self.server_state.limits
        most = allow_open_files(limits.connections)
        self.server_state.limits = replace(limits, connections=most)
        try:
            self._listener = _listen(self._host, self._port)
        except OSError as error:
            self.failure = _why_not_listening(f"{self._host}:{self._port}", error)
            return
        # what a run or a request raises to end the process ends nothing but itself
        with asyncio.Runner(loop_factory=ResilientLoop) as runner:
            runner.run(self._serve([self._listener]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, start the worker and say where the pages are."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)  # asyncio has one number for both
        if self._make_worker is not None:
            self._worker = self._make_worker()
            self._working = self._start(self._worker.run())
            self._working.add_done_callback(self._worker_ended)
        assert self._listener is not None  # noqa: S101 - run has opened it
        host, port = self._listener.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        self._write(f"Signalbox is ready at http://{name}:{port}/ (Ctrl-C stops it)")

    def _stop(self) -> None:
        """Stop gracefully; a second Ctrl-C ends the process at once."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.should_exit = True

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        """End the server with its worker, unless both are ending anyway."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.critical("The embedded worker failed.", exc_info=error)
            self.failure = "The embedded worker failed; the log says why."
            self.should_exit = True

    # -- shutdown ---------------------------------------------------------------------

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without failing a request.

        1. No new connections, except those that the system has accepted already.
        2. Websockets are closed with code 1012, and their pages reconnect; streams of events
           end with a message.
        3. Requests in progress get SHUTDOWN_SECONDS.
        4. The worker drains: nodes get DRAIN_SECONDS, their runs go on elsewhere or later.
        """
        ends = await asyncio.gather(
            self._close(sockets), self._drain(), return_exceptions=True
        )
        for error in ends:
            if isinstance(error, BaseException):
                logger.error("The server did not shut down cleanly.", exc_info=error)

    async def _close(self, sockets: list[socket.socket] | None) -> None:
        self.server_state.is_leaving = True
        for listener in sockets or []:
            await self._accept_waiting(listener)
        for server in self.servers:
            server.close()
        if self._worker is not None:
            self._write(
                "Stopping: work in hand may finish; Ctrl-C again stops at once."
            )
        self._end_streams()
        await super().shutdown(sockets)

    async def _accept_waiting(self, listener: socket.socket) -> None:
        """Accept the connections that the system has accepted already.

        They would be reset: a proxy sends a form only once, so its sender would see an
        error.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        with suppress(BlockingIOError):
            for _ in range(BACKLOG):
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                await loop.connect_accepted_socket(self._new_connection, accepted)

    def _new_connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)

    async def _drain(self) -> None:
        if self._worker is None or self._working is None:
            return
        if not self._working.done():
            await self._worker.drain()
        await asyncio.wait({self._working})

    @staticmethod
    def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


def allow_open_files(connections: int) -> int:
    """Raise the soft limit of open files to what so many connections need.

    Returns how many connections leave OTHER_FILES for the rest of the process: nodes and
    the database would fail without files. A hard limit that is too low is logged.
    """
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            most = max(soft - OTHER_FILES, soft // 2)
            logger.warning(
                "The system allows %d open files, and MAX_CONNECTIONS=%d needs %d: only %d"
                " connections are accepted. Raise the limit (LimitNOFILE in a systemd"
                " unit), or lower MAX_CONNECTIONS.",
                soft,
                connections,
                needed,
                most,
            )
            return most
    return connections


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = (host.strip("[]"), port)
    listener = socket.create_server(address, family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _why_not_listening(address: str, error: OSError) -> str:
    """Return a message with the cause and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{address} is already in use: stop what listens there, or set PORT."
    if error.errno == errno.EACCES:
        return f"{address} is not ours to listen on: set PORT to 1024 or above."
    return f"{address} cannot be listened on ({error}): set HOST and PORT."
