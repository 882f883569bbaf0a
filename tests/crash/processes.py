"""Processes under test: a separate installation with any number of workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import fork_server
from tests.support.fork_server import ForkedProcess
from tests.support.servers import HOME, SECRET_KEY, migrated_file, own_environment

TIMEOUT_SECONDS = 60  # fails a test that would block forever
POLL_SECONDS = 0.05


class Installation:
    """A directory, a database, optionally Redis, and the processes that use them."""

    def __init__(
        self, home: Path, *, database: str = "", redis: str = "", **settings: str
    ) -> None:
        """Take a database with our tables; without one, SQLite is used.

        Settings are environment variables.
        """
        self.home = home
        self.url = ""  # of the web process, once it runs
        self.trace = home / "trace"
        self.settings = {
            "WORKFLOW_APPS": "tests.crash.app",
            "SECRET_KEY": SECRET_KEY,
            "LEASE_SECONDS": "2",
            "HEARTBEAT_SECONDS": "0.5",
            "POLL_INTERVAL_SECONDS": "0.3",
            **({"DATABASE_URL": database} if database else {}),
            **({"REDIS_URL": redis} if redis else {}),
            **settings,
        }
        self.data_dir = home / "data"
        self.environment = own_environment(self.data_dir, **self.settings)
        if not database:
            self.data_dir.mkdir()
            shutil.copy(migrated_file(Path(os.environ[HOME])), self.data_dir)

    def manage(self, *arguments: str) -> str:
        """Return the output of a management command. Raises AssertionError on failure."""
        return self._run("manage.py", *arguments)

    def drive(self, action: str, **given: Any) -> Any:
        """Return the output of tests/crash/drive.py."""
        return json.loads(
            self._run("-m", "tests.crash.drive", action, json.dumps(given))
        )

    def launch(self, count: int = 1, name: str = "count", **params: Any) -> list[str]:
        """Launch runs of a workflow of the tests; return their ids."""
        given = {"trace": str(self.trace), **params}
        return self.drive("launch", count=count, name=name, params=given)  # type: ignore[no-any-return]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query without starting a process."""
        if url := self.settings.get("DATABASE_URL"):
            import psycopg

            with psycopg.connect(url, autocommit=True) as postgres:
                return postgres.execute(query).fetchall()
        place = f"file:{self.data_dir / 'db.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=30)) as sqlite:
            return sqlite.execute(query).fetchall()

    def are_ended(self) -> bool:
        """Return whether no run is pending, running or waiting any more."""
        live = (
            "SELECT COUNT(*) FROM workflows_run"
            " WHERE status IN ('pending', 'running', 'waiting')"
        )
        return self.ask(live) == [(0,)]

    def traces(self) -> list[str]:
        """Return the keys of the started nodes, in order."""
        return [key for key, _ in self._trace_lines()]

    def working(self) -> int:
        """Return the id of the process in which the last node started."""
        return int(self._trace_lines()[-1][1])

    def _trace_lines(self) -> list[list[str]]:
        text = self.trace.read_text() if self.trace.exists() else ""
        return [line.split() for line in text.splitlines()]

    def _run(self, *arguments: str) -> str:
        done = fork_server.run(
            arguments, environment=self.environment, timeout=TIMEOUT_SECONDS * 5
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def process(self, *arguments: str, **environment: str) -> Iterator[ForkedProcess]:
        """Run a management command during the block; write its output to a log."""
        name = "-".join(word.strip("-") for word in arguments)
        process = fork_server.start(
            ["manage.py", *arguments],
            environment=self.environment | environment,
            output=self.home / f"{name}-{time.monotonic_ns()}.log",
        )
        try:
            yield process
        finally:
            kill(process)

    def worker(self, name: str, capacity: int = 50, **environment: str) -> Any:
        """Run a worker process."""
        given = ["--name", name, "--concurrency", str(capacity)]
        return self.process("worker", *given, **environment)

    def logs(self) -> str:
        """Return the output of all processes."""
        return "\n".join(path.read_text() for path in sorted(self.home.glob("*.log")))


def kill(process: ForkedProcess) -> None:
    """Kill a process with SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait()


def wait_for(
    holds: Callable[[], Any], *, what: str, seconds: float = TIMEOUT_SECONDS
) -> Any:
    """Poll a condition until it is true; return its value."""
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"timeout while waiting for {what}"
        time.sleep(POLL_SECONDS)
    return answer


def kill_until_ended(
    installation: Installation,
    *,
    runs: int,
    moments: Sequence[str] = ("before 2", "after 2"),
) -> int:
    """Kill each worker at the next of the moments until these runs have ended.

    Return the number of killed workers.
    """
    ended = "SELECT COUNT(*) FROM workflows_run WHERE completed_at IS NOT NULL"

    def is_over(worker: ForkedProcess | None = None) -> bool:
        is_killed = worker is not None and worker.poll() is not None
        return is_killed or installation.ask(ended) == [(runs,)]

    kills = 0
    while not is_over():
        moment = moments[kills % len(moments)]
        with installation.worker(f"{kills}", KILL_AT=moment) as worker:
            wait_for(partial(is_over, worker), what="the worker to be killed")
        kills += 1
    return kills
