"""An OpenAI-compatible HTTP server with scripted responses.

    with ModelServer() as server:
        server.script(Answer("Hello"), failing(429, headers={"Retry-After": "0"}))
        ... send requests to server.url ...
        assert server.requests[0].body["messages"][0]["content"] == "Hi"

Requests beyond the script get an echo. The server runs its event loop on a thread and
records when a client closes its connection before the response is complete.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

TIMEOUT_SECONDS = 20  # fails a test that would block forever


@dataclass
class Request:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]  # with lower-case names
    body: dict[str, Any]
    connection: int  # number of the connection, from 1


@dataclass
class Answer:
    """A scripted response: JSON, or a stream if the request asks for one."""

    text: str = ""
    pieces: Sequence[str] = ()  # of a stream; by default the words of the text
    tool_calls: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[str, int] | None = field(
        default_factory=lambda: {"prompt_tokens": 7, "completion_tokens": 5}
    )
    status: int = 200
    error: str = ""  # the message of a failure
    error_code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # the raw body, for example malformed JSON
    gate: Gate | None = None  # blocks each piece, or the response
    breaks_after: int | None = (
        None  # number of pieces after which the connection is closed
    )
    vectors: Sequence[Sequence[float]] | None = None


class Gate:
    """Blocks a response until the test releases the next part."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)
        self.reached = threading.Event()  # set when a response waits

    def let(self, count: int = 1) -> None:
        """Release `count` parts."""
        self._passes.release(count)

    async def wait(self) -> None:
        """Wait until a part is released."""
        self.reached.set()
        while not self._passes.acquire(blocking=False):  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.005)


def failing(status: int, message: str = "No.", **given: Any) -> Answer:
    """Return an error response."""
    return Answer(status=status, error=message, **given)


class ModelServer:
    """The server, a context manager."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.closed_early: list[float] = []  # monotonic times
        self.connections = 0
        self._script: deque[Answer] = deque()
        self._ready = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="model-server")

    def script(self, *answers: Answer) -> None:
        """Add responses for the next requests."""
        self._script.extend(answers)

    @property
    def url(self) -> str:
        """The base URL for a provider."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        assert self._ready.wait(TIMEOUT_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT_SECONDS)

    def wait_closed(self, seconds: float) -> float:
        """Return the monotonic time at which a client closed its connection early."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.closed_early, seconds)
        return self.closed_early[0]

    def wait_requests(self, count: int) -> list[Request]:
        """Return the requests when there are at least `count`."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.requests) >= count, TIMEOUT_SECONDS
            )
        return self.requests

    # -- server loop ------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        number, received = self.connections, b""
        try:
            while request := await self._read(reader, number, received):
                self._note(request)
                response = asyncio.create_task(self._answer(writer, request))
                received = await self._until_done(reader, response)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _until_done(
        self, reader: asyncio.StreamReader, response: asyncio.Task[None]
    ) -> bytes:
        """Wait for the response; return the first bytes of the next request, if any.

        Raises ConnectionError if the client disconnects first.
        """
        more = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({more, response}, return_when=asyncio.FIRST_COMPLETED)
            if not response.done():
                with self._changed:
                    self.closed_early.append(time.monotonic())
                    self._changed.notify_all()
                raise ConnectionError("the client disconnected")
            response.result()
            return more.result() if more.done() else b""
        finally:
            for task in (more, response):
                task.cancel()
            await asyncio.gather(more, response, return_exceptions=True)

    def _note(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    async def _read(
        self, reader: asyncio.StreamReader, number: int, received: bytes
    ) -> Request | None:
        if reader.at_eof():
            return None
        head = received + await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, path, headers, json.loads(body or b"{}"), number)

    async def _answer(self, writer: asyncio.StreamWriter, request: Request) -> None:
        answer = self._script.popleft() if self._script else _echo(request)
        if request.body.get("stream") and answer.raw is None and answer.status == 200:
            await self._stream(writer, request, answer)
            return
        if answer.gate is not None:
            await answer.gate.wait()
        body = answer.raw if answer.raw is not None else _body(request, answer)
        head = _head(answer, f"Content-Length: {len(body)}", "application/json")
        writer.write(head + body)
        await writer.drain()

    async def _stream(
        self, writer: asyncio.StreamWriter, request: Request, answer: Answer
    ) -> None:
        writer.write(_head(answer, "Transfer-Encoding: chunked", "text/event-stream"))
        count = 0
        async for event in _events(request, answer):
            if answer.breaks_after is not None and count >= answer.breaks_after:
                writer.transport.abort()
                raise ConnectionError("closed by the script")
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()
            count += 1
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _echo(request: Request) -> Answer:
    messages = request.body.get("messages") or [{"content": ""}]
    output = messages[-1]["content"]
    text = output if isinstance(output, str) else output[0]["text"]
    return Answer(f"You said: {text}")


def _head(answer: Answer, length: str, kind: str) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} Scripted",
        f"Content-Type: {kind}",
        length,
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _body(request: Request, answer: Answer) -> bytes:
    if answer.status != 200:
        error = {"message": answer.error, "code": answer.error_code or None}
        return json.dumps({"error": error}).encode()
    if request.path.endswith("/embeddings"):
        return json.dumps(_embeddings(request, answer)).encode()
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool_calls:
        message |= {"content": None, "tool_calls": list(answer.tool_calls)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {
            "id": "chat-1",
            "object": "chat.completion",
            "created": 1,
            "model": request.body.get("model"),
            "choices": [choice],
            "usage": answer.usage,
        }
    ).encode()


def _embeddings(request: Request, answer: Answer) -> dict[str, Any]:
    texts = request.body["input"]
    vectors = answer.vectors
    if vectors is None:
        vectors = [[float(len(text)), 1.0] for text in texts]
    rows = [
        {"object": "embedding", "index": index, "embedding": list(vector)}
        for index, vector in enumerate(vectors)
    ]
    # in another order, which the protocol permits
    return {"object": "list", "data": rows[::-1], "usage": {"prompt_tokens": 3}}


async def _events(request: Request, answer: Answer) -> AsyncIterator[bytes]:
    pieces = answer.pieces or [f"{word} " for word in answer.text.split()]
    for piece in pieces:
        if answer.gate is not None:
            await answer.gate.wait()
        delta = {"index": 0, "delta": {"content": piece}}
        yield _event(request, choices=[delta])
    if answer.usage is not None:
        yield _event(request, choices=[], usage=dict(answer.usage))
    yield b"data: [DONE]\n\n"


def _event(request: Request, **given: Any) -> bytes:
    chunk = {
        "id": "chat-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": request.body.get("model"),
        **given,
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()
