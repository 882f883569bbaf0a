"""Rolling restart of all processes under load behind nginx, without errors or lost runs."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.crash.histories import check_history, wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.crash.visitor import Answer, Refused, Visitor
from tests.support.fork_server import ForkedProcess
from tests.support.servers import free_port, wait_for_port

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 4
READERS = 3
NGINX = """
daemon off;
pid {home}/nginx.pid;
error_log {home}/nginx-error.log info;
events {{ worker_connections 512; }}
http {{
    access_log {home}/nginx-access.log;
    client_body_temp_path {home}/nginx-body;
    proxy_temp_path {home}/nginx-proxy;
    fastcgi_temp_path {home}/nginx-fastcgi;
    uwsgi_temp_path {home}/nginx-uwsgi;
    scgi_temp_path {home}/nginx-scgi;
    {documented}
}}
"""


def documented_configuration(port: int, ports: list[int]) -> str:
    """Return the nginx configuration of docs/operating.md with these ports, without TLS."""
    page = (Path("docs") / "operating.md").read_text()
    text = page.split("```nginx\n")[1].split("```")[0]
    text = text[: text.index("server {\n    listen 80;")]
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "server_name runs.example.org;": "",
        "    ssl_certificate     /etc/ssl/certs/runs.example.org.pem;\n": "",
        "    ssl_certificate_key /etc/ssl/private/runs.example.org.key;\n": "",
        "proxy_set_header Host $host;": "proxy_set_header Host $http_host;",
        "127.0.0.1:8001": f"127.0.0.1:{ports[0]}",
        "127.0.0.1:8002": f"127.0.0.1:{ports[1]}",
    }
    for written, ours in changes.items():
        assert written in text, written
        text = text.replace(written, ours)
    return text


@contextmanager
def running_nginx(home: Path, ports: list[int]) -> Iterator[str]:
    """Provide the address of an nginx in front of two web processes."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("There is no nginx: install Debian's package `nginx-light`.")
    port = free_port()
    configuration = home / "nginx.conf"
    documented = documented_configuration(port, ports)
    configuration.write_text(NGINX.format(home=home, documented=documented))
    process = subprocess.Popen([nginx, "-c", str(configuration), "-p", str(home)])
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)


class Load:
    """Clients that read pages, launch runs and keep a page open until stopped."""

    def __init__(self, url: str, installation: Installation) -> None:
        """Use the address of nginx."""
        self._url = url
        self._installation = installation
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[str] = []
        self.read: Counter[int] = Counter()
        self.launched: list[str] = []
        self.sockets = 0  # opened, one after the other
        self.drawings = 0

    def __enter__(self) -> Load:
        """Sign in and start all clients."""
        crowd: list[Callable[[Visitor], None]] = [
            *[self._read] * READERS,
            self._launch,
            self._watch,
        ]
        with Visitor(self._url) as first:
            for visit in crowd:
                given = (visit, first.also())
                self._threads.append(threading.Thread(target=self._repeat, args=given))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all clients."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, visit: Callable[[Visitor], None], visitor: Visitor) -> None:
        with visitor:
            while not self._stop.is_set():
                try:
                    visit(visitor)
                except Exception as error:
                    self.failures.append(f"{visit.__name__}: {error!r}")

    def _note(self, answer: Answer, wanted: int) -> bool:
        self.read[answer.status] += 1
        if answer.status != wanted:
            self.failures.append(f"{answer.status}: {answer.text[:200]}")
        return answer.status == wanted

    def _read(self, visitor: Visitor) -> None:
        for path in ["/", "/runs/", *[f"/runs/{run}/" for run in self.launched[-1:]]]:
            self._note(visitor.get(path), 200)

    def _launch(self, visitor: Visitor) -> None:
        form = {
            **visitor.form_of("/workflows/count/"),
            "trace": str(self._installation.trace),
            "rounds": str(ROUNDS),
            "seconds": "0.1",
        }
        answer = visitor.send("/workflows/count/", form)
        if self._note(answer, 302):
            self.launched.append(answer.headers["Location"].strip("/").split("/")[-1])

    def _watch(self, visitor: Visitor) -> None:
        """Keep a page open; reconnect when it is closed, as a browser does."""
        with (
            suppress(Refused, ConnectionError),
            visitor.open_socket("/ws/lists/runs/") as page,
        ):
            self.sockets += 1
            while not self._stop.is_set() and not isinstance(page.next(), int):
                self.drawings += 1


def test_a_rolling_restart_causes_no_errors(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    installation = Installation(
        tmp_path,
        database=migrated_url,
        redis=redis_url,
        BEHIND_PROXY="1",
        LEASE_SECONDS="30",
        HEARTBEAT_SECONDS="5",
    )
    installation.manage("prepare")
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        url = stack.enter_context(running_nginx(tmp_path, ports))
        webs = [Process(installation, "serve", "--port", str(port)) for port in ports]
        workers = [Process(installation, "worker", "--name", n) for n in "abc"]
        for process in [*webs, *workers]:
            stack.enter_context(process)
        for port in ports:
            wait_until_ready(port)
        with Load(url, installation) as load:
            wait_for(lambda: len(load.launched) > 5, what="the load to begin")
            for _ in range(2):
                for process, port in zip(webs, ports, strict=True):
                    process.restart()
                    wait_until_ready(port)
                    _wait_for_more(load)
                for process in workers:
                    process.restart()
                    _wait_for_more(load)
        report = wait_until_ended(installation, seconds=120)
    assert load.failures == []
    assert load.sockets > 1, "the page reconnected"
    assert load.drawings > 0
    check_history(report, ROUNDS)
    assert sorted(run["id"] for run in report["runs"]) == sorted(load.launched)
    assert set(Counter(installation.traces()).values()) == {1}, "no node ran twice"
    assert {run["recoveries"] for run in report["runs"]} == {0}
    log = installation.logs()
    assert "Traceback" not in log


class Process:
    """A process that can be restarted as by systemd."""

    def __init__(self, installation: Installation, *arguments: str) -> None:
        """Take the command of manage.py."""
        self._start = partial(installation.process, *arguments)
        self._stack = ExitStack()
        self._process: ForkedProcess | None = None

    def __enter__(self) -> Process:
        self._process = self._stack.enter_context(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Send SIGTERM, wait for the exit, and start the process again."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(60) == 0
        self._process = self._stack.enter_context(self._start())


def wait_until_ready(port: int) -> None:
    """Wait until a web process is ready."""

    def answers() -> bool:
        with (
            suppress(ConnectionError),
            Visitor(f"http://127.0.0.1:{port}/", sign_in=False) as probe,
        ):
            return probe.get("/health/pages").status == 200
        return False

    wait_for(answers, what=f"the web process at {port}")


def _wait_for_more(load: Load) -> None:
    """Let the load continue for a while between two restarts."""
    launched = len(load.launched)
    wait_for(lambda: len(load.launched) > launched + 3, what="more launches")
