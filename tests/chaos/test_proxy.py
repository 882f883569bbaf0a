"""The effects of the proxy's faults on a client and a server."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.proxy import Proxy

SILENT_SECONDS = 0.2  # without an answer
TIMEOUT_SECONDS = 10


class Server:
    """Records each request, and responds with its bytes in upper case."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.requests: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while data := _received(connection):
                self.requests.put(data)
                connection.sendall(data.upper())


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionError:
        return b""


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server."""
    with closing(Server()) as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Give a proxy."""
    with Proxy() as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy, server: Server) -> Iterator[socket.socket]:
    """Give a connection through the route `web`, over which a request was answered."""
    port = proxy.listen("web", ("127.0.0.1", server.port))
    with connected(port) as client:
        assert ask(client, b"hello") == b"HELLO"
        assert server.requests.get(timeout=TIMEOUT_SECONDS) == b"hello"
        yield client


def connected(port: int) -> socket.socket:
    """Return a connection."""
    return socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)


def ask(client: socket.socket, request: bytes) -> bytes:
    """Return the response to a request, or nothing if the connection is closed."""
    client.sendall(request)
    return _received(client)


def test_a_swallowed_request_is_executed_and_its_reply_lost(
    proxy: Proxy, server: Server, client: socket.socket
) -> None:
    port = client.getpeername()[1]
    proxy.swallow("web")
    assert ask(client, b"SELECT 1") == b"SELECT 1", "only writes are swallowed"
    assert server.requests.get(timeout=TIMEOUT_SECONDS) == b"SELECT 1"
    assert ask(client, b"UPDATE runs") == b""
    assert server.requests.get(timeout=TIMEOUT_SECONDS) == b"UPDATE runs"
    assert proxy.routes["web"].swallowed == 1
    with connected(port) as again:
        assert ask(again, b"UPDATE runs") == b"UPDATE RUNS"


@pytest.mark.parametrize("arrives", [True, False])
def test_a_blocked_route_forwards_withheld_bytes_once_it_is_healed(
    proxy: Proxy, server: Server, client: socket.socket, arrives: bool
) -> None:
    proxy.silence("web", up=not arrives)
    client.settimeout(SILENT_SECONDS)
    client.sendall(b"again")
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert server.requests.empty() is not arrives
    proxy.heal("web")
    client.settimeout(TIMEOUT_SECONDS)
    assert client.recv(100) == b"AGAIN"


def test_a_cut_route_accepts_new_connections_and_a_refusing_one_none(
    proxy: Proxy, client: socket.socket
) -> None:
    port = client.getpeername()[1]
    proxy.cut("web")
    assert _received(client) == b""
    with connected(port) as second:
        assert ask(second, b"hello") == b"HELLO"
        proxy.refuse("web")
        assert _received(second) == b""
    with connected(port) as third:
        assert _received(third) == b""
    proxy.heal("web")
    with connected(port) as fourth:
        assert ask(fourth, b"hello") == b"HELLO"


@pytest.mark.parametrize("fault", ["delay", "throttle"])
def test_a_slow_route_delays_bytes(
    proxy: Proxy, server: Server, client: socket.socket, fault: str
) -> None:
    if fault == "delay":
        proxy.delay("web", TIMEOUT_SECONDS)
    else:
        proxy.throttle("web", 1)
    client.settimeout(SILENT_SECONDS)
    client.sendall(b"hello")
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert server.requests.empty()
