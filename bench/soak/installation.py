"""The installation of a soak test: its database, its Redis, its processes.

With SQLite, one process serves pages and executes runs. With PostgreSQL and Redis, web
processes and workers are separate, as in production.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.__main__ import prepare
from bench.live import PASSWORD, ROOT
from bench.servers import redis

START_SECONDS = 120.0  # for a worker to be ready
POLL_SECONDS = 0.2
STOP_SECONDS = 40.0  # for a process to drain
METRICS_TOKEN = "a token of this measurement"  # noqa: S105 - of servers that are gone after it
RULE_DAYS = 1  # after which runs are purged; see gauges.age_runs
SETTINGS = {
    "ADMIN_PASSWORD": PASSWORD,
    "LOG_LEVEL": "WARNING",
    "METRICS_TOKEN": METRICS_TOKEN,
    "PAGE_CACHE_BYTES": "1000000",  # full before the end of the warm-up
    # the load comes from one address and one person
    "LAUNCHES_PER_MINUTE": "0",
    "UPLOADS_PER_MINUTE": "0",
    "LOGINS_PER_MINUTE": "0",
}


@dataclass(frozen=True, slots=True)
class Installation:
    """What runs, by name, and where."""

    urls: list[str] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    redis_url: str = ""

    def ended(self) -> dict[str, int]:
        """Return the exit codes of the processes that have ended."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None}


@contextmanager
def installed(
    home: Path, *, sqlite: bool, webs: int, workers: int, apps: str = "bench.soak"
) -> Iterator[Installation]:
    """Set Django up in this process and give the running installation.

    The logs of its processes are `NAME.log` in `home`. Raises SystemExit if a process
    does not start.
    """
    with ExitStack() as stack:
        settings = {**SETTINGS, "WORKFLOW_APPS": apps}
        if not sqlite:
            settings["REDIS_URL"] = stack.enter_context(redis(str(home)))
            # `prepare` of bench removes REDIS_URL before it applies these
        prepare(home, "sqlite" if sqlite else "pg", **settings)
        _set_up()
        found = Installation(redis_url=settings.get("REDIS_URL", ""))
        for number in range(1 if sqlite else webs):
            name = f"web{number}"
            process = stack.enter_context(_process(home, name, "serve", "--port", "0"))
            found.processes[name] = process
            found.urls.append(_address(process, home / f"{name}.log"))
        for number in range(0 if sqlite else workers):
            name = f"worker{number}"
            command = ("worker", "--name", name)
            found.processes[name] = stack.enter_context(_process(home, name, *command))
        _wait_for_workers(found)
        yield found


def _set_up() -> None:
    """Create the account, and the rule by which runs are purged."""
    from workflows.models import Retention  # noqa: PLC0415 - Django is set up by now

    command = [sys.executable, "manage.py", "prepare"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
    Retention.objects.create(
        payload_days=RULE_DAYS, run_days=RULE_DAYS, decision_days=RULE_DAYS
    )


def _wait_for_workers(installation: Installation) -> None:
    """Return once each worker has its row. Raises SystemExit."""
    from workflows.models import Worker  # noqa: PLC0415 - Django is set up by now

    workers = {name for name in installation.processes if name.startswith("worker")}
    until = time.monotonic() + START_SECONDS
    while workers - set(Worker.objects.values_list("name", flat=True)):
        if installation.ended() or time.monotonic() > until:
            raise SystemExit("A worker did not start: see its log with --directory.")
        time.sleep(POLL_SECONDS)


@contextmanager
def _process(home: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with (
        (home / f"{name}.log").open("a") as log,
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=os.environ.copy(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Return the address of a server once it is ready, without the slash."""
    for line in process.stdout or ():
        if found := re.search(r"ready at (http://\S+)/", line):
            return found[1]
    raise SystemExit(f"The server did not start: {log.read_text()}")
