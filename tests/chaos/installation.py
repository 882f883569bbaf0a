"""Web processes and workers, each behind separate routes to PostgreSQL and Redis.

A process that ends is restarted after a moment, as by systemd. The database is one
of a server that other tests use too, or has a server of its own, which may be restarted and
run out of disk.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

from tests.chaos.proxy import Address, Proxy
from tests.crash.visitor import Visitor
from tests.support import fork_server
from tests.support.fork_server import ForkedProcess
from tests.support.servers import SECRET_KEY, OwnRedis, free_port, own_environment

if TYPE_CHECKING:
    from tests.chaos.schedule import Settings

SERVICES: Final = ("postgres", "redis")
RESTART_SECONDS: Final = 0.5
WATCH_SECONDS: Final = 0.1
START_SECONDS: Final = 300.0  # on a busy machine
STEPPED: Final = "CHAOS_CLOCK"


class Process:
    """A process that is restarted whenever it ends."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: dict[str, str],
        log: Path,
    ) -> None:
        self.name = name
        self.clock = Path(environment[STEPPED])
        self.exits: list[int] = []  # codes of all that ended
        self._arguments = arguments
        self._environment = environment
        self._log = log
        self._process: ForkedProcess | None = None
        self._may_start = 0.0  # on the monotonic clock

    def keep_running(self) -> None:
        """Start the process, or restart it a moment after its end."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self.exits.append(code)
            self._process = None
            self._may_start = time.monotonic() + RESTART_SECONDS
        if time.monotonic() >= self._may_start:
            self._process = fork_server.start(
                ["manage.py", *self._arguments],
                environment=self._environment,
                output=self._log,
            )

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def stop(self) -> None:
        """Stop the process without a restart."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()


class Services:
    """All processes of a run of the suite, the servers and the proxy between them."""

    def __init__(self, home: Path, settings: Settings, database: str) -> None:
        """`database` is the address of a PostgreSQL database with our tables."""
        self.home = home
        self.database = database
        self.proxy = Proxy()
        self.redis = OwnRedis(home)
        self.environment = own_environment(
            home / "data",
            DATABASE_URL=database,
            REDIS_URL=self.redis.url,
            WORKFLOW_APPS="tests.chaos.app",
            SECRET_KEY=SECRET_KEY,
            LEASE_SECONDS=str(settings.lease_seconds),
            HEARTBEAT_SECONDS="0.5",
            POLL_INTERVAL_SECONDS="0.3",
            MAX_RECOVERIES="1000",
            DATABASE_POOL_SIZE="8",
            LAUNCHES_PER_MINUTE="0",
            LOGINS_PER_MINUTE="0",
        )
        self.processes: dict[str, Process] = {}
        self.urls: list[str] = []
        self._settings = settings
        self._stack = ExitStack()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep_running, name="keeper")

    def __enter__(self) -> Services:
        """Start all servers and processes; wait until the pages respond."""
        with ExitStack() as stack:
            stack.enter_context(self.proxy)
            self.redis.start()
            stack.callback(self.redis.stop)
            self._prepare()
            for name in self._settings.processes:
                self._add(name)
            stack.callback(self._stop_processes)
            self._keeper.start()
            for url in self.urls:
                _wait_until_ready(url)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all processes and servers."""
        self._stack.close()

    def ask(self, query: str) -> list[Any]:
        """Return the rows of a query, bypassing the proxy."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def heal(self) -> None:
        """End every fault of the network, the processes and the clocks."""
        for name in self.proxy.routes:
            self.proxy.heal(name)
        for process in self.processes.values():
            process.signal(signal.SIGCONT)
            process.clock.unlink(missing_ok=True)

    def logs(self) -> dict[str, str]:
        """Return the output of each process."""
        return {path.stem: path.read_text() for path in sorted(self.home.glob("*.log"))}

    def _prepare(self) -> None:
        (self.home / "data").mkdir(exist_ok=True)
        done = fork_server.run(
            ["manage.py", "prepare"],
            environment=self.environment,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, done.stderr

    def _add(self, name: str) -> None:
        postgres, redis = (
            self.proxy.listen(f"{name} {service}", self._address(service))
            for service in SERVICES
        )
        environment = self.environment | {
            "DATABASE_URL": through(self.database, postgres),
            "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
            STEPPED: str(self.home / f"{name}.clock"),
        }
        arguments = ["worker", "--name", name]
        if name.startswith("web"):
            port = free_port()
            self.urls.append(f"http://127.0.0.1:{port}/")
            arguments = ["serve", "--port", str(port)]
        log = self.home / f"{name}.log"
        self.processes[name] = Process(name, arguments, environment, log)

    def _address(self, service: str) -> Address:
        if service == "redis":
            return "127.0.0.1", self.redis.port
        return address_of(self.database)

    def _keep_running(self) -> None:
        while not self._ending.is_set():
            for process in self.processes.values():
                process.keep_running()
            self._ending.wait(WATCH_SECONDS)

    def _stop_processes(self) -> None:
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for process in self.processes.values():
            process.stop()


def address_of(database: str) -> Address:
    """Return where the server of a PostgreSQL database listens."""
    parts = urlsplit(database)
    if places := parse_qs(parts.query).get("host"):
        return Path(unquote(places[0])) / ".s.PGSQL.5432"
    return parts.hostname or "127.0.0.1", parts.port or 5432


def through(database: str, port: int) -> str:
    """Return the address of a database behind a port of the proxy."""
    parts = urlsplit(database)
    user = parts.username or os.environ.get("USER", "postgres")
    return f"postgres://{user}@127.0.0.1:{port}{parts.path}"


def _wait_until_ready(url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), Visitor(url, sign_in=False) as visitor:
            if visitor.get("/health/pages").status == 200:
                return
        time.sleep(WATCH_SECONDS)
    raise TimeoutError(f"{url} did not answer within {START_SECONDS:.0f} s.")
