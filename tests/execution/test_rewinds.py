"""A database that was put back to an older copy under a live worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from tests.support.sealed_runs import WORKER, Step, record_for, record_of
from tests.support.sealed_runs import launch as launched
from tests.support.workers import ended, until, working
from workflows.audit.verifier import Checker
from workflows.engine import Graph, State
from workflows.execution import queue, rewinds, sql, workers
from workflows.execution.record_rows import rows_of
from workflows.execution.rewinds import Position
from workflows.execution.writer import Writer
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    Attempt,
    AuditEvent,
    Checkpoint,
    Decision,
    LogLine,
    Outcome,
    Retry,
    Run,
    Stage,
    StageItem,
    Worker,
)
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = 5
# in the order in which rows refer to each other
TABLES: tuple[type[Model], ...] = (
    Run, Attempt, Stage, Decision, Checkpoint, LogLine, Retry, StageItem, Approval,
    AuditEvent,
)  # fmt: skip


class Hold:
    """A step that waits for the test the first time it runs."""

    def __init__(self) -> None:
        self.reached, self.over = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        """Return once the test allows it; at once when the step runs again."""
        if not self.reached.is_set():
            self.reached.set()
            await self.over.wait()


@dataclass
class Counting:
    """A workflow that counts to STEPS, waits in some of them, and keeps a ledger."""

    holds: dict[int, Hold] = field(default_factory=dict)
    ledger: list[int] = field(default_factory=list)  # outside of the database

    def registry(self) -> Registry:
        """Return a registry with the workflow."""

        async def step(state: State) -> State:
            number = state["done"] + 1
            self.ledger.append(number)
            if number in self.holds:
                await self.holds[number].wait()
            return state.set(done=number)

        async def finish(state: State) -> State:
            return state

        def build(graph: Graph, _runtime: object, _params: object) -> State:
            graph.add_node("step", step)
            graph.add_node("finish", finish)
            graph.add_edge("step", "step", needs_more)
            graph.add_edge("step", "finish")
            graph.set_entry_point("step")
            graph.set_exit_point("finish")
            return State(done=0)

        registry = Registry()
        registry.register_factory("counting", build)
        return registry


def needs_more(state: State) -> bool:
    """Return whether another step is due."""
    return bool(state["done"] < STEPS)


Copy = list[tuple[type[Model], list[Model]]]


def copy_database() -> Copy:
    """Return all rows of runs and their history."""
    with transaction.atomic():
        return [(model, list(model._base_manager.all())) for model in TABLES]  # noqa: SLF001


def restore(copy: Copy) -> None:
    """Put the database back to a copy."""
    with transaction.atomic():
        for model in reversed(TABLES):
            rows: QuerySet[Model] = model._base_manager.all()  # noqa: SLF001
            rows._raw_delete(rows.db)  # noqa: SLF001
        for model, saved in copy:
            model._base_manager.bulk_create(saved)  # noqa: SLF001


def check_history(run_id: UUID) -> None:
    """Assert that the history of a run has each step once, and is as it was recorded."""
    assert [str(finding) for finding in Checker().everything()] == []
    done = Stage.objects.filter(run=run_id, status="completed")
    assert Counter(done.values_list("sequence", flat=True)) == Counter(
        range(1, STEPS + 2)
    )


def line_of(run_id: UUID) -> str:
    """Return the log line about the rewind."""
    return LogLine.objects.get(run=run_id, number=rewinds.FIRST_LINE).message


async def launch(registry: Registry) -> UUID:
    """Launch a run."""
    run = await run_in_db(System(registry).execute, "counting", {})
    return run.pk


async def test_a_run_continues_from_what_the_database_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counting = Counting({2: Hold(), 4: Hold()})
    registry = counting.registry()
    async with working(registry):
        run_id = await launch(registry)
        await counting.holds[2].reached.wait()
        copy = await run_in_db(copy_database)
        counting.holds[2].over.set()
        await counting.holds[4].reached.wait()
        await run_in_db(restore, copy)
        counting.holds[4].over.set()
        run = await ended(run_id)
    text = (
        "The database went back from step 3 to step 1; the steps in between run again."
    )
    assert run.status == "completed"
    assert run.recoveries == 0
    assert counting.ledger == [1, 2, 3, 4, 2, 3, 4, 5]
    await run_in_db(check_history, run_id)
    assert await run_in_db(line_of, run_id) == text
    assert caplog.text.count(text) == 1
    first = await run_in_db(Attempt.objects.get, run=run_id, number=1)
    assert (first.outcome, first.error_message) == (Outcome.RELEASED, text)


async def test_the_heartbeat_drops_a_run_whose_node_takes_long(settings: Any) -> None:
    settings.HEARTBEAT_SECONDS = 0.05
    counting = Counting({2: Hold(), 4: Hold()})
    registry = counting.registry()
    async with working(registry):
        run_id = await launch(registry)
        await counting.holds[2].reached.wait()
        copy = await run_in_db(copy_database)
        counting.holds[2].over.set()
        await counting.holds[4].reached.wait()
        await run_in_db(restore, copy)
        run = await ended(run_id)  # while the node of the dropped run still waits
    assert (run.status, run.recoveries, run.attempt) == ("completed", 0, 2)
    assert counting.ledger == [1, 2, 3, 4, 2, 3, 4, 5]
    await run_in_db(check_history, run_id)


async def test_a_run_that_the_older_copy_shows_as_pending_is_claimed_again() -> None:
    counting = Counting({2: Hold()})
    registry = counting.registry()
    run_id = await launch(registry)
    copy = await run_in_db(copy_database)
    async with working(registry) as worker:
        await counting.holds[2].reached.wait()
        await run_in_db(restore, copy)
        worker.wake()  # the same attempt of the same worker, while the lost one works
        await until(run_id, lambda run: run.sequence > 2)
        counting.holds[2].over.set()
        run = await ended(run_id)
    assert (run.status, run.attempt) == ("completed", 1)
    await run_in_db(check_history, run_id)
    assert "The database went back" in await run_in_db(line_of, run_id)


async def test_a_run_launched_after_the_older_copy_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counting = Counting({2: Hold()})
    registry = counting.registry()
    copy = await run_in_db(copy_database)
    async with working(registry) as worker:
        run_id = await launch(registry)
        await counting.holds[2].reached.wait()
        await run_in_db(restore, copy)
        counting.holds[2].over.set()
        await worker._held.wait_until_idle()  # noqa: SLF001 - nothing else shows it
    assert f"Run {run_id} does not exist any more" in caplog.text
    assert not await run_in_db(Stage.objects.filter(run=run_id).exists)
    assert await run_in_db(lambda: [*Checker().everything()]) == []


# The statements ---------------------------------------------------------------------------


def a_claimed_run() -> Run:
    """Return a run that a worker has just claimed."""
    launched()
    (run,) = queue.claim(WORKER, 1).runs
    return run


def write_step(run: Run, number: int) -> int | None:
    """Write the record of a step, as a worker that wrote `number - 1`; None if refused."""
    record = record_of(run, number, Step())
    record.fence_before, record.fence = run.fence + number - 1, run.fence + number
    with transaction.atomic():
        return sql.driver().write_records(rows_of([record])).get(run.pk)


def test_a_record_is_refused_unless_it_follows_the_last_one_in_the_database() -> None:
    run = a_claimed_run()
    assert write_step(run, 1)
    copy = copy_database()
    assert write_step(run, 2)
    restore(copy)
    assert write_step(run, 3) is None
    assert Stage.objects.filter(run=run).count() == 1
    assert write_step(run, 2)
    assert write_step(run, 3)


def test_a_record_whose_commit_response_was_lost_can_be_written_again() -> None:
    run = a_claimed_run()
    assert write_step(run, 1)
    assert write_step(run, 1)
    assert Stage.objects.filter(run=run).count() == 1


def test_an_attempt_that_is_handed_out_again_has_another_fence() -> None:
    launched()
    copy = copy_database()
    (before,) = queue.claim(WORKER, 1).runs
    restore(copy)
    (again,) = queue.claim(WORKER, 1).runs
    assert (before.attempt, before.worker) == (again.attempt, again.worker)
    assert write_step(before, 1) is None
    assert queue.renew(WORKER, {before.pk: before.fence}) == {}
    assert write_step(again, 1)


def test_a_lease_is_renewed_unless_the_row_is_behind() -> None:
    run = a_claimed_run()
    copy = copy_database()
    assert write_step(run, 1)
    assert write_step(run, 2)
    known = {run.pk: run.fence + 1}  # the next record was committed in between
    assert set(queue.renew(WORKER, known)) == {run.pk}
    restore(copy)
    assert queue.renew(WORKER, known) == {}


def test_a_run_that_waits_in_the_older_copy_continues_to_wait() -> None:
    run = a_claimed_run()
    Run.objects.filter(pk=run.pk).update(
        status="waiting", lease_expires_at=None, version=3
    )
    run.version = 9
    assert rewinds.leave(run, Position(4, run.fence + 8, run.fence + 8))
    stored = Run.objects.get(pk=run.pk)
    assert (stored.status, stored.version) == ("waiting", 10)
    assert line_of(run.pk) == (
        "The database went back from step 4 to step 0; the run is waiting there."
    )


@pytest.mark.parametrize(
    ("status", "attempt"), [("pending", 1), ("completed", 1), ("completed", 2)]
)
def test_a_run_that_another_worker_recovered_is_no_rewind(
    status: str, attempt: int
) -> None:
    run = a_claimed_run()
    ended = status == "completed"
    Run.objects.filter(pk=run.pk).update(
        status=status,
        attempt=attempt,
        lease_expires_at=None,
        sequence=5,
        completed_at=timezone.now() if ended else None,
    )
    assert not rewinds.leave(run, Position(5, run.fence, run.fence))
    assert not LogLine.objects.filter(run=run).exists()


def test_the_heartbeat_inserts_a_worker_that_the_older_copy_lacks() -> None:
    workers.record_heartbeat("worker", 3, 8)
    row = Worker.objects.get(name="worker")
    assert (row.running, row.capacity, row.stopped_at) == (3, 8, None)
    workers.record_heartbeat("worker", 2, 8)
    assert Worker.objects.get(name="worker").running == 2


async def test_records_of_two_attempts_of_a_run_are_written_separately() -> None:
    run, other = Run(attempt=1), Run(attempt=1)
    writer = Writer(lambda _versions: None)
    again = record_for(run, 2)
    again.attempt = 2
    for record in (record_for(run, 1), record_for(other, 1), again):
        writer.submit(record)
    await asyncio.sleep(0)  # the loop submits them
    batches = [writer._take(), writer._take()]  # noqa: SLF001 - as its thread does
    assert [[r.run_id for r in batch] for batch in batches] == [
        [run.pk, other.pk],
        [run.pk],
    ]
