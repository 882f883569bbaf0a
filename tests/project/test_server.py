"""`project.server` with an application and a worker made for the test: how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from project.env import ROOT
from tests.support.servers import TIMEOUT

pytestmark = pytest.mark.crash

# Answers in two halves, half a second apart; echoes on websockets; the worker takes a
# moment to drain, or fails on request.
SCRIPT = """
import asyncio, sys
from project.connection_limits import ConnectionLimits
from project.server import Server

limits = ConnectionLimits(
    connections=8, head_seconds=0.3, idle_seconds=60, messages_per_second=10
)

async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        print("open", flush=True)
        if "talk" in sys.argv:
            await send({"type": "websocket.send", "text": 5000 * "."})
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        print("closed", message["code"], flush=True)
        return
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    print("half", flush=True)
    await asyncio.sleep(0.5)
    await send({"type": "http.response.body", "body": b"second"})

class Worker:
    def __init__(self):
        self.stopped = asyncio.Event()
    async def run(self):
        if "fail" in sys.argv:
            raise RuntimeError("out of order")
        await self.stopped.wait()
        print("drained", flush=True)
    async def drain(self):
        if "hang" in sys.argv:
            await asyncio.sleep(3600)
        await asyncio.sleep(0.2)
        self.stopped.set()

server = Server(
    application, host="127.0.0.1", port=0, limits=limits, max_socket_bytes=1000,
    worker=Worker, write=lambda line: print(line, flush=True),
)
server.run()
sys.exit(server.failure or 0)
"""
UPGRADE = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
RESTART = b"\x88\x02\x03\xf4"  # a close frame with code 1012


class Running:
    """The script above, and what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines = (line.strip() for line in process.stdout)
        greeting = next(self.lines)
        self.port = int(greeting.split(":")[2].split("/")[0])

    def connect(self, request: str) -> socket.socket:
        """Send a request and return the connection."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        client.sendall(request.encode())
        return client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Give a function that starts the script with arguments."""
    processes: list[subprocess.Popen[str]] = []
    log = (tmp_path / "stderr").open("w")

    def begin(*arguments: str) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        processes.append(process)
        return Running(process)

    yield begin
    for process in processes:
        with process:
            process.kill()
    log.close()


def test_a_request_in_progress_completes_before_the_exit(
    start: Callable[..., Running],
) -> None:
    server = start()
    with server.connect("GET / HTTP/1.0\r\n\r\n") as client:
        assert next(server.lines) == "half"
        server.process.terminate()
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.endswith(b"first second")
    assert server.process.wait(TIMEOUT) == 0


def test_new_connections_are_refused_during_shutdown(
    start: Callable[..., Running],
) -> None:
    server = start()
    with server.connect("GET / HTTP/1.0\r\n\r\n"):
        assert next(server.lines) == "half"
        server.process.terminate()
        assert next(server.lines).startswith("Stopping")
        with pytest.raises(ConnectionRefusedError):
            server.connect("")


def test_the_worker_drains_before_the_end(start: Callable[..., Running]) -> None:
    server = start()
    server.process.terminate()
    assert next(server.lines).startswith("Stopping: work in hand may finish")
    assert next(server.lines) == "drained"
    assert server.process.wait(TIMEOUT) == 0


def test_websockets_are_closed_for_the_restart(start: Callable[..., Running]) -> None:
    server = start()
    with server.connect(UPGRADE) as client:
        assert next(server.lines) == "open"
        server.process.terminate()
        received = b""
        while not received.endswith(RESTART):
            more = client.recv(1000)
            assert more, received
            received += more
        assert "closed 1012" in server.lines
    assert server.process.wait(TIMEOUT) == 0


def test_sockets_limit_incoming_and_not_outgoing_messages(
    start: Callable[..., Running],
) -> None:
    server = start("talk")
    with server.connect(UPGRADE) as client:
        assert next(server.lines) == "open"
        received = b""
        while received.count(b".") < 5000:
            more = client.recv(10_000)
            assert more, received
            received += more
        client.sendall(b"\x81\xfe\x07\xd0" + bytes(4) + 2000 * b"x")  # masked, too long
        assert next(server.lines).startswith("closed")


def test_a_second_interrupt_ends_it_at_once(start: Callable[..., Running]) -> None:
    server = start("hang")
    server.process.send_signal(signal.SIGINT)
    assert next(server.lines).startswith("Stopping")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(TIMEOUT) == -signal.SIGINT


def test_a_worker_that_fails_ends_the_server(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    server = start("fail")
    assert server.process.wait(TIMEOUT) == 1
    assert "The embedded worker failed" in (tmp_path / "stderr").read_text()


def test_headers_that_do_not_arrive_close_the_connection(
    start: Callable[..., Running],
) -> None:
    server = start()
    with server.connect("GET / HTTP/1.1\r\nHost: x\r\n") as client:
        assert client.recv(1000) == b""


def test_a_full_server_closes_the_oldest_idle_connection(
    start: Callable[..., Running],
) -> None:
    server = start()
    idle = [server.connect("") for _ in range(8)]
    with server.connect("GET / HTTP/1.0\r\n\r\n") as client:
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.endswith(b"first second")
    assert idle[0].recv(1) == b""
    idle[-1].sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert idle[-1].recv(1000).startswith(b"HTTP/1.1 200"), "younger ones stay open"
    for client in idle:
        client.close()


@pytest.mark.parametrize("kind", [b"\x81", b"\x89"], ids=["messages", "pings"])
def test_a_flooded_websocket_is_closed_without_delaying_others(
    start: Callable[..., Running], kind: bytes
) -> None:
    server = start()
    frame = kind + b"\x81" + bytes(4) + b"x"
    with server.connect(UPGRADE) as client:
        assert next(server.lines) == "open"
        with suppress(ConnectionError):  # it is closed before everything is sent
            client.sendall(frame * 5_000)
        assert next(server.lines) == "closed 4429"
        with server.connect("GET / HTTP/1.0\r\n\r\n") as other:
            assert other.recv(1000).startswith(b"HTTP/1.1 200")


def test_connections_leave_open_files_for_the_worker() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100, {hard}));"
        "from project.server import allow_open_files as allow;"
        "print(allow(1000), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )

    def run(hard: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code.format(hard=hard)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )

    assert run(hard=2000).stdout.split() == ["1000", "1500"], "the limit is raised"
    limited = run(hard=800)
    assert limited.stdout.split() == ["400", "800"]
    assert "The system allows 800 open files" in limited.stderr
