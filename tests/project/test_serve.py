"""`manage.py serve`: a real server, from its greeting to its end."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from project.env import ROOT
from tests.crash.visitor import Visitor
from tests.support.servers import (
    HOME,
    SECRET_KEY,
    RunningServer,
    copy_prepared,
    free_port,
    manage,
    migrated_file,
    own_environment,
    running_server,
    wait_for_port,
)

pytestmark = pytest.mark.crash
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Give a server without a worker, for tests that leave it as it is."""
    data_dir = tmp_path_factory.mktemp("served")
    limit = str(MEGABYTE)
    with running_server(data_dir, "--no-worker", MAX_UPLOAD_BYTES=limit) as running:
        yield running


def connect(server: RunningServer) -> http.client.HTTPConnection:
    place = urlsplit(server.url)
    assert place.hostname is not None
    return http.client.HTTPConnection(place.hostname, place.port, timeout=20)


def ask(
    server: RunningServer, method: str, path: str, body: bytes | None = None
) -> tuple[http.client.HTTPResponse, str]:
    """Return the answer of a server, and its text."""
    connection = connect(server)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def serve(*options: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run `serve` in a directory that is prepared first; it must end by itself."""
    copy_prepared(data_dir)
    return manage("serve", *options, data_dir=data_dir, SECRET_KEY=SECRET_KEY)


def test_the_server_listens_before_it_reports_ready(server: RunningServer) -> None:
    answer, text = ask(server, "GET", "/health/live")
    assert answer.status == 200
    assert text == '{"status": "ok"}'
    assert answer.headers["Server"] == "signalbox"


def test_it_serves_static_files(server: RunningServer) -> None:
    answer, text = ask(server, "GET", "/static/admin/css/base.css")
    assert answer.status == 200
    assert "DJANGO" in text


def test_a_body_that_is_too_large_is_refused_with_a_message(
    server: RunningServer,
) -> None:
    answer, text = ask(server, "POST", "/accounts/login/", b"x" * 3 * MEGABYTE)
    assert answer.status == 413
    assert "Files may have up to 1 MB, and this one is larger." in text
    assert "css/app.css" in text, "it is a page like the others"
    assert answer.headers["Content-Security-Policy"]


def test_a_script_whose_body_is_too_large_gets_a_plain_message(
    server: RunningServer,
) -> None:
    for header, value in (("HX-Request", "true"), ("Accept", "application/json")):
        connection = connect(server)
        body = b"x" * 3 * MEGABYTE
        connection.request("POST", "/documents/", body, {header: value})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 413
        assert "Files may have up to 1 MB" in text
        assert "<html" not in text


def test_a_body_cannot_hide_its_size(server: RunningServer) -> None:
    connection = connect(server)
    pieces = (b"x" * 100_000 for _ in range(30))
    connection.request("POST", "/accounts/login/", pieces, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_port_in_use_is_reported_in_one_sentence(
    server: RunningServer, tmp_path: Path
) -> None:
    port = str(urlsplit(server.url).port)
    refused = serve("--port", port, "--no-worker", data_dir=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"127.0.0.1:{port} is already in use: stop what listens there, or set PORT.\n"
    )


def test_an_address_that_is_not_ours_is_one_clear_sentence(tmp_path: Path) -> None:
    refused = serve("--host", "192.0.2.1", "--no-worker", data_dir=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("192.0.2.1:8000 cannot be listened on (")
    assert refused.stderr.count("\n") == 1


def test_serve_prepares_first_on_request(tmp_path: Path, server: RunningServer) -> None:
    port = str(urlsplit(server.url).port)  # taken: it ends after preparing
    shutil.copy(migrated_file(Path(os.environ[HOME])), tmp_path)
    settings = {"WORKFLOW_APPS": "tests.project.unmigrated"}  # has one migration
    options = ("--port", port)
    ended = manage("serve", "--prepare", *options, data_dir=tmp_path, **settings)
    assert "Database migrated." in ended.stdout
    assert "is already in use" in ended.stderr
    again = manage("serve", *options, data_dir=tmp_path, **settings)
    assert again.stderr == ended.stderr


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        pytest.param("prepare", marks=pytest.mark.slow),
        pytest.param("migrate", marks=pytest.mark.slow),
    ],
)
def test_a_database_that_is_unavailable_is_one_clear_sentence(
    tmp_path: Path, command: str
) -> None:
    url = f"postgres://nobody@127.0.0.1:{free_port()}/none"
    done = manage(command, data_dir=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("The database cannot be reached: ")
    assert len(done.stderr.splitlines()) == 1


def test_an_unprepared_database_is_one_clear_sentence(tmp_path: Path) -> None:
    refused = manage("serve", "--no-worker", data_dir=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == (
        "The database is not up to date: run `manage.py prepare`.\n"
    )


@pytest.mark.slow
def test_daphne_serves_the_pages_as_well(tmp_path: Path) -> None:
    copy_prepared(tmp_path)
    port = free_port()
    daphne = [sys.executable, "-m", "daphne", "--port", str(port)]
    with subprocess.Popen(
        [*daphne, "project.asgi:application"],
        cwd=ROOT,
        env=own_environment(tmp_path, SECRET_KEY=SECRET_KEY),
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_port(port)
            with Visitor(f"http://127.0.0.1:{port}/") as person:
                assert "Runs" in person.read("/runs/")
                with person.open_socket("/ws/lists/runs/") as page:
                    assert isinstance(page.next(), str)
        finally:
            process.kill()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_serve_exits_on_sigterm(tmp_path: Path, asked: signal.Signals) -> None:
    with running_server(tmp_path) as running:
        running.process.send_signal(asked)
        assert running.process.wait(20) == 0, running.log.read_text()
        assert "Traceback" not in running.log.read_text()


def test_it_is_ready_when_the_embedded_worker_is(tmp_path: Path) -> None:
    with running_server(tmp_path) as running:
        for _ in range(200):
            answer, text = ask(running, "GET", "/health/ready")
            if answer.status == 200:
                break
        assert "Workers alive: 1." in text


@pytest.mark.parametrize(
    ("path", "origin"),
    [("/ws/nowhere/", "http://localhost"), ("/", "http://evil.example")],
)
def test_a_socket_with_an_unknown_path_is_refused_without_a_traceback(
    server: RunningServer, path: str, origin: str
) -> None:
    connection = connect(server)
    handshake = {
        "Host": "localhost",
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    connection.request("GET", path, headers=handshake)
    assert connection.getresponse().status == 403
    connection.close()
    assert "Traceback" not in server.log.read_text()
