"""One run of the suite: inject the faults of a schedule, end them, check the invariants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.chaos import evidence, invariants
from tests.chaos.clients import Books, Client
from tests.chaos.faults import Faults
from tests.chaos.installation import Services
from tests.chaos.invariants import Finding
from tests.chaos.invariants.runs import runs_are_counted
from tests.chaos.schedule import OWN_SERVER, Schedule, Settings, draw
from tests.chaos.server import Server, own_server
from tests.crash.visitor import Visitor

SETTLE_SECONDS: Final = 180.0  # for runs, operations and counts after the last fault
WATCH_SECONDS: Final = 40.0  # for open pages to show the end
LEASES: Final = 3  # in which workers detect a rewind of the database
POLL_SECONDS: Final = 0.3
UNSETTLED: Final = """
    SELECT (SELECT COUNT(*) FROM workflows_run
            WHERE status IN ('pending', 'running', 'waiting'))
         + (SELECT COUNT(*) FROM workflows_bulkjob WHERE ended_at IS NULL)
"""


@dataclass(frozen=True)
class Outcome:
    """The findings, and the directory of the files."""

    settings: Settings
    directory: Path
    findings: list[Finding]

    @property
    def failed(self) -> list[Finding]:
        """The violated invariants."""
        return [one for one in self.findings if one.violations]

    def __str__(self) -> str:
        """Return the report."""
        lines = [invariants.report(self.findings)]
        if self.failed:
            names = ", ".join(one.name for one in self.failed)
            lines += [
                f"Seed {self.settings.seed} failed: {names}.",
                f"Schedule, logs, ledger and journal: {self.directory}",
                f"Run it again: {self.settings.command}",
            ]
        return "\n".join(lines)


def run(settings: Settings, directory: Path, database: str = "") -> Outcome:
    """Execute the schedule of the settings, and check the invariants.

    Without the address of a database a separate server is started, with faults of servers.
    """
    if database:
        kept = tuple(one for one in settings.faults if one not in OWN_SERVER)
        return _run(replace(settings, faults=kept), directory, database, None)
    with own_server() as server:
        if not server.is_small:
            kept = tuple(one for one in settings.faults if one != "fill disk")
            settings = replace(settings, faults=kept)
        return _run(settings, directory, server.url, server)


def _run(
    settings: Settings, directory: Path, database: str, server: Server | None
) -> Outcome:
    schedule = draw(settings)
    schedule.write(directory / "schedule.json")
    with Services(directory, settings, database) as services, ExitStack() as stack:
        books = Books(directory, services.ask)
        clients = _clients(services, settings, books)
        for client in clients:
            stack.callback(client.close)
        faults = Faults(services, books, settings.lease_seconds * LEASES, server)
        _follow(schedule, clients, faults, books)
        services.heal()
        _wait(lambda: services.ask(UNSETTLED) == [(0,)], SETTLE_SECONDS)
        _wait(lambda: _is_counted(database, directory), SETTLE_SECONDS)
        ends = services.ask("SELECT id, status FROM workflows_run")
        _close_pages(clients, books, {str(run): status for run, status in ends})
        for process in services.processes.values():
            for code in process.exits:
                books.note("exit", process=process.name, code=code)
        found = _evidence(database, directory)
        found.findings = evidence.verification(services.environment)
    report = Outcome(settings, directory, invariants.check(found))
    (directory / "report.txt").write_text(str(report) + "\n")
    return report


def _clients(services: Services, settings: Settings, books: Books) -> list[Client]:
    """Return clients that are signed in."""
    with Visitor(services.urls[0]) as first:
        clients = [
            Client([first.also(url) for url in services.urls], books, settings.pace)
            for _ in range(settings.clients)
        ]
    for client in clients:
        client.sign_in()
    return clients


def _follow(
    schedule: Schedule, clients: Sequence[Client], faults: Faults, books: Books
) -> None:
    """Let clients and faults follow the schedule; return when both are at its end."""
    begin = time.monotonic()
    threads = [
        threading.Thread(
            target=client.follow,
            args=([r for r in schedule.requests if r.client == number], begin),
            name=f"client {number}",
        )
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    faults.follow(schedule.faults, begin)
    for thread in threads:
        thread.join()
    if faults.refused_writes:
        books.note("refused writes")


def _evidence(
    database: str, directory: Path, tables: Iterable[str] = tuple(evidence.TABLES)
) -> evidence.Evidence:
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        return evidence.read(cursor, directory, tables)


def _is_counted(database: str, directory: Path) -> bool:
    """Return whether the hourly counts have caught up with the runs."""
    results = runs_are_counted(_evidence(database, directory, ("run", "runtally")))
    return all(result is None for result in results)


def _close_pages(
    clients: Sequence[Client], books: Books, ends: Mapping[str, str]
) -> None:
    """Close the open pages when they show the end of their runs, or after a timeout.

    The page of a resumed run may show an earlier end for a moment; the page of a run that a
    rollback removed keeps its last content.
    """
    watchers = [watcher for client in clients for watcher in client.watchers]
    _wait(
        lambda: all(each.shown == ends.get(each.run, each.shown) for each in watchers),
        WATCH_SECONDS,
    )
    for watcher in watchers:
        watcher.end()
        books.note("watch", **watcher.line())


def _wait(condition: Callable[[], Any], seconds: float) -> bool:
    """Wait until a condition is true, or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(POLL_SECONDS)
    return False
