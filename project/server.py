"""The web server: Daphne, with a limit on uploads, an embedded worker and a calm end.

Import this before anything that imports Twisted's reactor: Daphne chooses its kind.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import daphne.server as daphne
from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import defer, reactor
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from project.security import POLICY
from workflows.engine.loop import run_resilient

logger = logging.getLogger(__name__)

FORM_BYTES = 1_000_000  # of a request beside the file it carries
FAREWELL_SECONDS = 10.0  # for requests that are being answered when the server stops
SILENCE_SECONDS = 1.0  # that who has just come in gets to say what is wanted
AT_THE_DOOR = 1000  # connections let in at once before the door is closed
GOING_AWAY = 1001  # websocket code: the server goes, come again

ERROR_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    "<title>%(title)s</title></head>"
    "<body><main><h1>%(title)s</h1><p>%(body)s</p></main></body></html>"
)


TooLarge = Callable[[str, Mapping[str, str]], tuple[str, str]]


class Works(Protocol):
    """What the server asks of the worker it embeds."""

    async def run(self) -> None:
        """Work until drained."""

    async def drain(self) -> None:
        """Take nothing more, and let what is being done come to an end."""


class Request(WebRequest):  # type: ignore[misc] # Daphne publishes no types
    """A request whose body has a limit, and is left to Django to read."""

    error_template = ERROR_PAGE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing received."""
        self._received = 0  # bytes of the body
        # Twisted would otherwise read whole uploads into memory to parse them.
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)

    @property
    def _is_too_large(self) -> bool:
        return bool(self._received > self.server.max_body_bytes)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a part of the body, unless there is too much of it."""
        self._received += len(data)
        if not self._is_too_large:
            super().handleContentChunk(data)

    def process(self) -> object:
        """Answer the request; a body that is too large with a sentence.

        The body has been read to its end by now: a browser shows no answer that comes
        while it is still sending.
        """
        if not self._is_too_large:
            connection = self.channel
            answering = super().process()
            connection.note_upgrade()
            return answering
        limit = (self.server.max_body_bytes - FORM_BYTES) / 1_000_000
        sentence = (
            f"Files may have up to {limit:g} MB, and this one is larger. "
            "Nothing was kept of it. Go back in the browser: what else you had filled in "
            "is still there. Then choose another file."
        )
        self._refuse(sentence)
        return None

    def _refuse(self, sentence: str) -> None:
        """Answer 413, with the page of whoever serves here if there is one."""
        if self.server.too_large is None:
            self.basic_error(413, b"The file is too large", sentence)
            return
        sent = self.requestHeaders.getAllRawHeaders()
        headers = {name.decode("latin-1"): last(values) for name, values in sent}
        kind, text = self.server.too_large(sentence, headers)
        page = [
            (b"Content-Type", kind.encode()),
            (b"Content-Security-Policy", POLICY.encode()),
            (b"Cache-Control", b"no-store"),
        ]
        start = {"type": "http.response.start", "status": 413, "headers": page}
        self.handle_reply(start)
        self.handle_reply({"type": "http.response.body", "body": text.encode()})


def last(values: list[bytes]) -> str:
    """Return the last of the values that a header has."""
    return values[-1].decode("latin-1")


Channel: Any = HTTPChannel  # Twisted types its arguments only here and there


class Connection(Channel):  # type: ignore[misc]
    """A connection that can be asked to end with the answer it is waiting for."""

    request_received = False

    def note_upgrade(self) -> None:
        """Count no longer, if this has become a websocket: Daphne counts those."""
        if getattr(self.transport, "protocol", self) is not self:
            self.factory.open.discard(self)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Let the server know."""
        super().connectionMade()
        self.factory.open.add(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Note that somebody said something."""
        self.request_received = True
        super().dataReceived(data)

    def checkPersistence(self, request: Any, version: bytes) -> bool:  # noqa: N802
        """Tell whether it stays open after this answer: not when the server goes."""
        return not self.factory.leaving and bool(
            super().checkPersistence(request, version)
        )

    def requestDone(self, request: Any) -> None:  # noqa: N802 - Twisted's name
        """Stay open, unless the server has been told to go meanwhile."""
        if self.factory.leaving:
            self.persistent = False
        super().requestDone(request)

    def connectionLost(self, reason: Any = CONNECTION_DONE) -> None:  # noqa: N802
        """Let the server know."""
        super().connectionLost(reason)
        self.factory.open.discard(self)
        self.factory.changed.set()


class Requests(HTTPFactory):  # type: ignore[misc] # Daphne publishes no types
    """Makes a connection of our kind for everyone who comes, and keeps count of them."""

    protocol = Connection

    def __init__(self, server: Server) -> None:
        """Begin with nobody."""
        super().__init__(server)
        self.open: set[Connection] = set()
        self.changed = asyncio.Event()
        self.leaving = False

    def buildProtocol(self, address: IAddress) -> Any:  # noqa: N802 - Twisted's name
        """Return the protocol of a new connection."""
        protocol = super().buildProtocol(address)
        protocol.requestFactory = Request
        return protocol

    async def see_off(self) -> None:
        """Return when everyone has the answer they waited for, or the patience is over.

        Who has an answer and has asked for nothing more is let go at once; who has said
        nothing yet is given a second, since a proxy may just have opened the door.
        """
        self.leaving = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (spent := loop.time() - began) < FAREWELL_SECONDS:
            self.changed.clear()
            if not self.open:
                return
            for connection in [*self.open]:
                if not connection.requests and (
                    connection.request_received or spent >= SILENCE_SECONDS
                ):
                    connection.loseConnection()
            until = SILENCE_SECONDS if spent < SILENCE_SECONDS else FAREWELL_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), max(until - spent, 0))


class Socket(WebSocketProtocol):  # type: ignore[misc] # Daphne publishes no types
    """A websocket that limits what comes in, not what goes out."""

    maxMessagePayloadSize: int  # noqa: N815 - the library's name

    def sendMessage(self, *args: Any, **options: Any) -> None:  # noqa: N802
        """Send a message of any length; the library has one limit for both ways."""
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*args, **options)
        finally:
            self.maxMessagePayloadSize = limit


class Sockets(WebSocketFactory):  # type: ignore[misc] # Daphne publishes no types
    """Makes websockets of our kind."""

    protocol = Socket


class Server(daphne.Server):  # type: ignore[misc] # Daphne publishes no types
    """Serves until SIGTERM or SIGINT, then drains: see `_stop_calmly`.

    After `run`, `failure` is empty, or the sentence that says why it could not go on.
    """

    def __init__(  # noqa: PLR0913 - all of them are needed, and named
        self,
        application: Callable[..., Awaitable[None]],
        *,
        host: str,
        port: int,
        max_upload_bytes: int,
        max_socket_bytes: int,
        worker: Callable[[], Works] | None,
        tell: Callable[[str], object],
        too_large: TooLarge | None = None,
    ) -> None:
        """Take what to serve and where; `tell` gets the sentences for the operator.

        `too_large` returns content type and text of the answer to a body that is too
        large, from the sentence that says so and the headers of the request.
        """
        super().__init__(
            application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            action_logger=_log_request,
            server_name="signalbox",
            ready_callable=self._when_running,
            websocket_max_message_size=max_socket_bytes,
            websocket_max_frame_size=max_socket_bytes,
        )
        self.max_body_bytes = max_upload_bytes + FORM_BYTES
        self.too_large = too_large
        self.failure = ""
        self._asked_for = f"{host}:{port}"
        self._make_worker = worker
        self._worker: Works | None = None
        self._working: asyncio.Task[None] | None = None
        self._ports: list[Any] = []  # Twisted types an interface, not its objects
        self._tell = tell

    # -- beginning --------------------------------------------------------------------

    def run(self) -> None:
        """Serve. Returns when stopped, or at once when it cannot listen."""
        # what Daphne's own `run` makes connections with
        daphne.HTTPFactory, daphne.WebSocketFactory = Requests, Sockets
        # what a run or a request raises to end the process ends nothing but itself
        loop = daphne.twisted_loop
        loop.run_forever = partial(run_resilient, loop.run_forever)
        super().run()

    def listen_success(self, port: IListeningPort) -> None:
        """Remember what we listen on."""
        super().listen_success(port)
        self._ports.append(port)

    def listen_error(self, failure: Failure) -> None:
        """Stop, with a sentence that says why nothing listens."""
        self.failure = _why_not_listening(self._asked_for, failure.value)
        self.stop()

    def _when_running(self) -> None:
        reactor.callWhenRunning(self._greet)

    def _greet(self) -> None:
        """Start the worker and say where the pages are."""
        if self._make_worker is not None:
            self._worker = self._make_worker()
            self._working = self._start(self._worker.run())
            self._working.add_done_callback(self._worker_ended)
        for host, port in self.listening_addresses:
            name = f"[{host}]" if ":" in host else host
            self._tell(f"Signalbox is ready at http://{name}:{port}/ (Ctrl-C stops it)")

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        """End the server with its worker, unless both are ending anyway."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.critical("The embedded worker failed.", exc_info=error)
            self.failure = "The embedded worker failed; the log says why."
            self.stop()

    # -- ending -----------------------------------------------------------------------

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Stop calmly; Daphne calls this first when the server is to end."""
        return defer.Deferred.fromFuture(self._start(self._stop_calmly()))

    async def _stop_calmly(self) -> None:
        """Take leave of everybody.

        1. Nothing new is let in; a second Ctrl-C ends the process at once.
        2. Websockets are told that the server goes; their pages come again.
        3. Requests that are being answered get ten seconds.
        4. The worker drains: nodes get DRAIN_SECONDS, their runs go on elsewhere or later.
        """
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        ends = await asyncio.gather(
            self._take_leave(), self._drain(), return_exceptions=True
        )
        for error in ends:
            if isinstance(error, BaseException):
                logger.error("The server did not end calmly.", exc_info=error)

    async def _take_leave(self) -> None:
        for port in self._ports:
            _close_door(port)
        if self._worker is not None:
            self._tell("Stopping: work in hand may finish; Ctrl-C again stops at once.")
        answering = set()
        for protocol, details in list(self.connections.items()):
            if isinstance(protocol, WebSocketProtocol) and _is_open(protocol):
                # Not `sendClose`: that one is for the codes of applications.
                protocol.sendCloseFrame(code=GOING_AWAY)
            if (instance := details.get("application_instance")) is not None:
                answering.add(instance)
        await self.http_factory.see_off()
        await _within(FAREWELL_SECONDS, answering)

    async def _drain(self) -> None:
        if self._worker is None or self._working is None:
            return
        if not self._working.done():
            await self._worker.drain()
        await asyncio.wait({self._working})

    @staticmethod
    def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        loop: asyncio.AbstractEventLoop = daphne.twisted_loop
        return loop.create_task(work)


def _is_open(socket: WebSocketProtocol) -> bool:
    return bool(socket.state == WebSocketProtocol.STATE_OPEN)


def _close_door(port: Any) -> None:
    """Listen no more, once everyone is in whom the system has let in already.

    Twisted would close it a moment later, and whoever came in that moment would be cut
    off: a proxy sends a form only once, so its sender would see an error.
    """
    port.stopReading()
    port.numberAccepts = AT_THE_DOOR
    port.doRead()
    port.connectionLost(CONNECTION_DONE)


async def _within(seconds: float, answering: set[asyncio.Future[object]]) -> None:
    """Wait for answers; give up those that are not there in time."""
    if answering:
        _, late = await asyncio.wait(answering, timeout=seconds)
        for answer in late:
            answer.cancel()


def _why_not_listening(asked_for: str, error: BaseException | None) -> str:
    """Return a sentence that says what is in the way, and what to do."""
    cause = getattr(error, "socketError", error)
    number = cause.errno if isinstance(cause, OSError) else None
    if isinstance(error, CannotListenError) and number == errno.EADDRINUSE:
        return f"{asked_for} is already in use: stop what listens there, or set PORT."
    if number == errno.EACCES:
        return f"{asked_for} is not ours to listen on: set PORT to 1024 or above."
    return f"{asked_for} cannot be listened on ({cause}): set HOST and PORT."


def _log_request(protocol: str, action: str, details: dict[str, Any]) -> None:
    """Log what was answered, for those who ask for it with LOG_LEVEL=DEBUG."""
    if protocol == "http" and action == "complete":
        logger.debug(
            "%s %s %s in %.0f ms",
            details["status"],
            details["method"],
            details["path"],
            details["time_taken"] * 1000,
        )
