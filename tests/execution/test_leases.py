"""When a worker counts as lost, with wrong clocks and outages of the database."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from tests.support.factories import make_run
from workflows.audit.step_records import StepRecord
from workflows.execution import queue, sql
from workflows.execution.leases import Overdue
from workflows.execution.record_rows import rows_of
from workflows.execution.worker import Worker
from workflows.infra.outages import Outage
from workflows.models import Run

pytestmark = pytest.mark.django_db


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def stopwatch(settings: Any) -> Stopwatch:
    settings.HEARTBEAT_SECONDS = 5
    settings.LEASE_SECONDS = 30
    return Stopwatch()


@pytest.fixture
def outage() -> Outage:
    return Outage("database", "Database unavailable", "Database available again")


@pytest.fixture
def overdue(stopwatch: Stopwatch, outage: Outage) -> Overdue:
    return Overdue(stopwatch, outage)


def held_run(*, expired_seconds_ago: float = 1) -> Run:
    """Return a run whose lease has expired."""
    ended = timezone.now() - dt.timedelta(seconds=expired_seconds_ago)
    return make_run(status="running", worker="other", attempt=1, lease_expires_at=ended)


def status_of(run: Run) -> str:
    return Run.objects.get(pk=run.pk).status


def test_an_expired_lease_is_checked_twice(
    overdue: Overdue, stopwatch: Stopwatch
) -> None:
    run = held_run()
    assert queue.sweep(overdue.lost) == []
    stopwatch.seconds = 9.9
    assert queue.sweep(overdue.lost) == []
    stopwatch.seconds = 10
    assert queue.sweep(overdue.lost) == [run.pk]
    assert status_of(run) == "pending"


def test_a_worker_that_renews_between_two_checks_retains_its_run(
    overdue: Overdue, stopwatch: Stopwatch
) -> None:
    # as after an outage of the database, or when its clock jumped by an hour
    run = held_run(expired_seconds_ago=3600)
    queue.sweep(overdue.lost)
    queue.renew("other", {run.pk: run.fence})
    stopwatch.seconds = 1000
    assert queue.sweep(overdue.lost) == []
    assert status_of(run) == "running"


def test_no_worker_counts_as_lost_for_one_lease_after_an_outage(
    overdue: Overdue, stopwatch: Stopwatch, outage: Outage, settings: Any
) -> None:
    run = held_run(expired_seconds_ago=3600)
    outage.report_failure(ConnectionError("refused"))
    queue.sweep(overdue.lost)
    stopwatch.seconds = 1000
    assert queue.sweep(overdue.lost) == [], "who holds it cannot renew it either"
    outage.report_success()
    assert queue.sweep(overdue.lost) == [], "who holds it may come back a little later"
    settings.LEASE_SECONDS = 0
    assert queue.sweep(overdue.lost) == []
    stopwatch.seconds += 10
    assert queue.sweep(overdue.lost) == [run.pk]


def test_a_lease_renewed_with_a_wrong_clock_is_not_recovered(
    overdue: Overdue, stopwatch: Stopwatch
) -> None:
    # whose clock is an hour late renews to a moment that has passed for everyone else
    run = held_run(expired_seconds_ago=3600)
    for beat in range(1, 10):
        assert queue.sweep(overdue.lost) == []
        stopwatch.seconds += 5
        late = timezone.now() - dt.timedelta(seconds=3600 - beat * 5)
        Run.objects.filter(pk=run.pk).update(lease_expires_at=late)
    assert status_of(run) == "running"


def test_the_run_of_a_stopped_worker_is_claimed_immediately(
    overdue: Overdue,
) -> None:
    run = held_run()
    Run.objects.filter(worker="other").expire()
    assert queue.sweep(overdue.lost) == [run.pk]


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_worker_with_a_wrong_clock_claims_no_leased_run_and_writes_correct_leases(
    hours: int, monkeypatch: pytest.MonkeyPatch, overdue: Overdue, stopwatch: Stopwatch
) -> None:
    from django.db import connection

    if connection.vendor != "postgresql":
        pytest.skip("With SQLite there is one machine, and one clock.")
    right = timezone.now
    run = make_run(
        status="running",
        worker="other",
        attempt=1,
        lease_expires_at=right() + dt.timedelta(seconds=20),
    )
    _set_clock(monkeypatch, lambda: right() + dt.timedelta(hours=hours))
    queue.sweep(overdue.lost)
    stopwatch.seconds = 100
    assert queue.sweep(overdue.lost) == []
    queue.renew("other", {run.pk: run.fence})
    found = Run.objects.get(pk=run.pk)
    assert found.lease_expires_at is not None
    assert 0 < (found.lease_expires_at - right()).total_seconds() < 60


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_wrong_clock_wakes_no_one_early(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection

    if connection.vendor != "postgresql":
        pytest.skip("With SQLite there is one machine, and one clock.")
    right = timezone.now
    soon, past = (right() + dt.timedelta(seconds=s) for s in (3600, -1))
    sleeping = make_run(status="waiting", waiting_for="wait", wake_at=soon)
    due = make_run(status="waiting", waiting_for="wait", wake_at=past)
    _set_clock(monkeypatch, lambda: right() + dt.timedelta(hours=hours))
    assert queue.sweep() == [due.pk]
    assert status_of(sleeping) == "waiting"


def _set_clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], dt.datetime]) -> None:
    monkeypatch.setattr(timezone, "now", now)


async def test_a_worker_does_not_recover_its_own_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker("only", 1)
    run = Run(attempt=3, lease_expires_at=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    assert [*worker._lost([run])] == [run]  # noqa: SLF001 - what its sweep believes
    held = {run.pk: type("HeldRun", (), {"run": run, "is_dropped": False})()}
    monkeypatch.setattr(worker._held, "_runs", held)  # noqa: SLF001
    assert [*worker._lost([run])] == []  # noqa: SLF001


@pytest.mark.django_db(transaction=True)
def test_leases_are_renewed_while_records_are_written_without_deadlock() -> None:
    from django.db import connection

    if connection.vendor != "postgresql":
        pytest.skip("SQLite lets one write at a time.")
    until = timezone.now() + dt.timedelta(hours=1)
    runs = [
        make_run(status="running", worker="both", attempt=1, lease_expires_at=until).pk
        for _ in range(40)
    ]

    def in_random_order(number: int, action: Callable[[list[UUID]], Any]) -> None:
        order = random.Random(number)  # noqa: S311 - which order, does not matter
        for _ in range(60):
            assert len(action(order.sample(runs, len(runs)))) == len(runs)
        connections.close_all()

    def write(order: list[UUID]) -> dict[UUID, int]:
        records = [
            StepRecord(
                run_id=run_id,
                worker="both",
                attempt=1,
                workflow="count",
                sequence=1,
                waiting_node="",
                wake_at=None,
            )
            for run_id in order
        ]
        return sql.driver().write_records(rows_of(records))

    with ThreadPoolExecutor(2) as threads:
        renewing = threads.submit(
            in_random_order,
            1,
            lambda order: queue.renew("both", dict.fromkeys(order, 0)),
        )
        writing = threads.submit(in_random_order, 2, write)
        renewing.result(60)
        writing.result(60)
