"""No run of a paused workflow starts; those that have started continue."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.support import statements
from tests.support.factories import make_run
from tests.support.sealed_runs import launch
from tests.support.statements import ExplainedDriver, PreparedDriver, copy_run, query
from tests.support.workers import SharedEvent, ended, reaches, working
from workflows.audit import audit_events
from workflows.engine import State, Workflow, node
from workflows.errors import PauseUnchanged, WorkflowNotFound
from workflows.execution import queue, sql
from workflows.execution.queue_position import runs_before
from workflows.execution.sql.claim_statements import LOOKAHEAD
from workflows.infra.database_threads import run_in_db
from workflows.models import AuditEvent, Run, Status, WorkflowPause
from workflows.registry import Registry
from workflows.system import System

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from django.db.backends.base.base import BaseDatabaseWrapper

WORKERS = 10
OTHERS = 3_000  # pending runs of a paused workflow


def pause(name: str) -> None:
    WorkflowPause.objects.create(workflow_name=name, paused_by_name="alice")


def pending(name: str, count: int = 1, **fields: Any) -> list[Run]:
    return [
        make_run(workflow_name=name, status=Status.PENDING, **fields)
        for _ in range(count)
    ]


def claimed(limit: int = 9) -> set[Any]:
    return {run.pk for run in queue.claim("worker", limit).runs}


# The claim ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_pending_runs_of_a_paused_workflow_stay_pending() -> None:
    pause("mail")
    pending("mail", 12)
    (other,) = pending("print")
    assert claimed(4) == {other.pk}
    assert claimed(4) == set()


@pytest.mark.django_db
def test_a_run_that_has_started_continues_in_a_paused_workflow() -> None:
    pause("mail")
    pending("mail", 3, priority=9)
    (started,) = pending("mail", attempt=1)
    (closing,) = pending("mail", closing={"status": "cancelled"})
    (other,) = pending("print")
    assert claimed() == {started.pk, closing.pk, other.pk}


@pytest.mark.django_db
def test_a_run_of_a_paused_workflow_is_not_claimed_in_its_launch() -> None:
    pause("mail")
    statuses = {}
    for names in (["mail"], ["print"], ["mail", "print"]):
        launches = []
        for name in names:
            run = Run(workflow_name=name)
            event = audit_events.entry(run, "launch", by=None, after=Status.PENDING)
            queue.seal(run, event)
            launches.append(sql.NewRun(run, event))
        offer = sql.Offer("worker-7", queue.new_fence(), timezone.now(), 9)
        found = queue.insert(launches, offer)
        statuses[tuple(names)] = [found[one.run.pk] for one in launches]
    assert statuses == {
        ("mail",): ["pending"],
        ("print",): ["running"],
        ("mail", "print"): ["pending", "pending"],
    }


@pytest.mark.django_db
def test_runs_of_a_paused_workflow_are_not_ahead_in_the_queue() -> None:
    pending("mail", 5, priority=3)
    (started,) = pending("mail", attempt=1, priority=3)
    (other,) = pending("print")
    assert runs_before(other) == 6
    pause("mail")
    assert runs_before(other) == 1
    assert claimed(1) == {started.pk}


# Pause and unpause ------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_pause_has_a_reason_and_is_audited(alice: User) -> None:
    system = System()
    system.pause_workflow("summarize", by=alice, reason="The bank is down.")
    row = WorkflowPause.objects.get()
    assert (row.paused_by_name, row.reason) == ("alice", "The bank is down.")
    with pytest.raises(PauseUnchanged):
        system.pause_workflow("summarize", by=alice, reason="Again.")
    system.unpause_workflow("summarize", by=alice)
    with pytest.raises(PauseUnchanged):
        system.unpause_workflow("summarize", by=alice)
    events = AuditEvent.objects.filter(workflow_name="summarize").order_by("pk")
    assert [(one.action, one.actor_name, one.reason) for one in events] == [
        ("pause workflow", "alice", "summarize: The bank is down."),
        ("unpause workflow", "alice", "summarize"),
    ]


@pytest.mark.django_db
def test_a_workflow_that_is_not_installed_can_only_be_unpaused() -> None:
    with pytest.raises(WorkflowNotFound):
        System().pause_workflow("gone", by=None)
    pause("gone")
    System().unpause_workflow("gone", by=None)
    assert not WorkflowPause.objects.exists()


def held_workflow() -> tuple[Registry, SharedEvent, SharedEvent]:
    """Return a workflow whose first node waits, with the events of its entry and exit."""
    entered, proceed = SharedEvent(), SharedEvent()

    @node
    async def first(state: State) -> State:
        entered.set()
        await proceed.wait()
        return state

    @node
    def second(state: State) -> State:
        return state

    registry = Registry()
    registry.register(
        Workflow("held", state=State, start=first, routes={first: second})
    )
    return registry, entered, proceed


@pytest.mark.django_db(transaction=True)
async def test_a_launch_during_a_pause_starts_when_the_workflow_is_unpaused(
    settings: Any,
) -> None:
    settings.POLL_INTERVAL_SECONDS = 3_000  # no sweep during the test
    registry, entered, proceed = held_workflow()
    system = System(registry)
    async with working(registry):
        first = await run_in_db(system.execute, "held")
        async with asyncio.timeout(20):
            await entered.wait()
        await run_in_db(lambda: system.pause_workflow("held", by=None))
        second = await run_in_db(system.execute, "held")
        proceed.set()
        assert (await ended(first.pk)).status == Status.COMPLETED
        waiting = await run_in_db(Run.objects.get, pk=second.pk)
        assert (waiting.status, waiting.attempt) == (Status.PENDING, 0)
        await run_in_db(lambda: system.unpause_workflow("held", by=None))
        await reaches(second.pk, Status.COMPLETED)


# Races ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_no_run_starts_after_a_pause_is_committed() -> None:
    """Ten workers claim and launch while the workflow is paused: what had started by the
    time the pause returned is all that starts."""
    registry, _, _ = held_workflow()
    system = System(registry)
    for _ in range(300):
        system.execute("held")
    paused, is_moving = threading.Event(), threading.Semaphore(0)

    def work(number: int) -> None:
        try:
            after = 0  # claims that began when the pause was known to be committed
            while after < 3:
                after += paused.is_set()
                queue.claim(f"worker-{number}", 2)
                _launch_with_offer(number)
                is_moving.release()
        finally:
            connection.close()

    with ThreadPoolExecutor(WORKERS) as threads:
        tasks = [threads.submit(work, number) for number in range(WORKERS)]
        for _ in range(WORKERS):
            assert is_moving.acquire(timeout=60)
        system.pause_workflow("held", by=None)
        started = {*Run.objects.filter(attempt__gt=0).values_list("pk", flat=True)}
        paused.set()
        for task in tasks:
            task.result(60)
    assert {*Run.objects.filter(attempt__gt=0).values_list("pk", flat=True)} == started
    assert Run.objects.filter(attempt=0).exists()


def _launch_with_offer(number: int) -> None:
    run = Run(workflow_name="held")
    event = audit_events.entry(run, "launch", by=None, after=Status.PENDING)
    with transaction.atomic():
        queue.seal(run, event)
        offer = sql.Offer(f"worker-{number}", queue.new_fence(), timezone.now(), 10_000)
        queue.insert([sql.NewRun(run, event)], offer)


@pytest.mark.django_db(transaction=True)
def test_a_pause_waits_for_a_claim_in_progress(migrated_url: str) -> None:
    """On PostgreSQL: the claim has read the pauses and is not committed yet."""
    claiming, pausing = (
        statements.connect(migrated_url),
        statements.connect(migrated_url),
    )
    query(claiming, "BEGIN")
    driver = PreparedDriver(claiming)
    driver.claim_pending("worker", 1, timezone.now(), 7)
    query(pausing, "SET lock_timeout = '50ms'")
    with pytest.raises(Exception, match="lock timeout"):
        PreparedDriver(pausing).wait_for_claims()
    query(claiming, "COMMIT")
    PreparedDriver(pausing).wait_for_claims()
    claiming.close()
    pausing.close()


# Cost -----------------------------------------------------------------------------------


@pytest.fixture
def database(migrated_url: str) -> Iterator[BaseDatabaseWrapper]:
    connection = statements.connect(migrated_url)
    query(connection, "ALTER TABLE workflows_run SET (autovacuum_enabled = false)")
    yield connection
    connection.close()


@pytest.mark.django_db
@pytest.mark.parametrize("statistics", ["none", "of one run"])
def test_a_claim_reads_no_pending_run_of_a_paused_workflow(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch, statistics: str
) -> None:
    driver = PreparedDriver(database)
    monkeypatch.setattr(sql, "driver", lambda: driver)
    launch()
    (run,) = queue.claim("worker", 1).runs
    if statistics != "none":
        query(database, "ANALYZE")
    columns = {"status": "'pending'", "lease_expires_at": "NULL"}
    copy_run(database, run, OTHERS, **columns, attempt="0")
    copy_run(database, run, 20, **columns, workflow_name="'print'", attempt="0")
    started = copy_run(database, run, 3, **columns)
    query(
        database,
        "INSERT INTO workflows_workflowpause VALUES ('sum', '', 'alice', now())",
    )
    explained = ExplainedDriver(database)
    explained.found = [(0, None, None)]
    explained.claim_pending("worker", 10, timezone.now(), 7)
    assert 23 < explained.touched < 10 * LOOKAHEAD * 40
    pending_runs = "SELECT id FROM workflows_run WHERE status = 'pending'"
    left = {pk for (pk,) in query(database, pending_runs)}
    assert len(left) == OTHERS + 20 + 3 - 10
    assert not left & {*started}
