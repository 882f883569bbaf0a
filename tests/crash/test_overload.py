"""Overload of a real server: requests are refused, and liveness checks succeed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.crash.visitor import Answer, Refused, Visitor
from tests.support.servers import SECRET_KEY, RunningServer, running_server

pytestmark = [pytest.mark.crash, pytest.mark.slow]

VISITORS = 40


@pytest.fixture
def server(migrated_url: str, tmp_path: Path) -> Iterator[RunningServer]:
    """Provide a server on PostgreSQL with a pool for two concurrent pages."""
    settings = {
        "DATABASE_URL": migrated_url,
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_POOL_SIZE": "14",
        "MAX_QUEUED_REQUESTS": "4",
        "MAX_EXPORTS": "1",
        "REQUEST_SECONDS": "1",
    }
    with running_server(tmp_path, "--no-worker", **settings) as running:
        yield running


def is_live(server: RunningServer) -> bool:
    with Visitor(server.url, sign_in=False) as probe:
        return probe.get("/health/live").status == 200


def test_concurrent_page_loads_are_served_or_refused_without_a_database_error(
    server: RunningServer,
) -> None:
    with Visitor(server.url) as first, ExitStack() as stack:
        visitors = [stack.enter_context(first.also()) for _ in range(VISITORS)]
        threads = stack.enter_context(ThreadPoolExecutor(VISITORS))

        def load(visitor: Visitor) -> list[Answer]:
            return [visitor.get("/runs/") for _ in range(3)]

        loads = [threads.submit(load, visitor) for visitor in visitors]
        assert is_live(server)
        answers = [answer for one in loads for answer in one.result()]
    refused = [answer for answer in answers if answer.status != 200]
    assert 0 < len(refused) < len(answers)
    for answer in refused:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        assert "The server is processing too many requests" in answer.text
        assert "atabase" not in answer.text
    assert "Database unavailable" not in server.log.read_text()


def test_a_flood_of_messages_is_closed_with_4429_and_others_are_served(
    server: RunningServer,
) -> None:
    with Visitor(server.url) as person, person.open_socket("/ws/lists/runs/") as page:
        page.next()
        with suppress(ConnectionError):  # closed before all messages are sent
            page.flood(1_000_000)
        assert is_live(server)
        assert person.get("/runs/").status == 200
        with suppress(ConnectionError):  # reset because of unread messages
            code = page.next()
            while not isinstance(code, int):
                code = page.next()
            assert code == 4429


def test_slow_requests_and_idle_connections_do_not_block_other_clients(
    server: RunningServer,
) -> None:
    place = urlsplit(server.url)
    address = (place.hostname or "", place.port or 0)
    body = (
        "POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    )
    with Visitor(server.url) as person, ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(address, timeout=30))
            for _ in range(20)
        ]
        for number, connection in enumerate(slow):
            start = body if number % 2 else "GET / HTTP/1.1\r\n"
            connection.sendall(start.encode())
        assert is_live(server)
        assert person.get("/runs/").status == 200
        for number, connection in enumerate(slow):
            answer = b"".join(iter(lambda c=connection: c.recv(9999), b""))  # type: ignore[misc]
            assert (b"HTTP/1.1 408" in answer) == bool(number % 2)


def test_a_person_has_a_limited_number_of_websockets(
    migrated_url: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": migrated_url, "SECRET_KEY": SECRET_KEY}
    settings["MAX_SOCKETS_PER_PERSON"] = "2"
    with (
        running_server(tmp_path, "--no-worker", **settings) as server,
        Visitor(server.url) as person,
        person.open_socket("/ws/lists/runs/"),
        person.open_socket("/ws/lists/runs/"),
        pytest.raises(Refused, match="429"),
    ):
        person.open_socket("/ws/lists/runs/")
