"""The stage in progress is part of the run's row, and is written as a row once, at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from tests.support.sealed_runs import (
    WORKER,
    Step,
    found,
    found_in,
    launch,
    record_for,
    record_of,
    write,
)
from tests.support.workers import SharedEvent, ended, until, working
from workflows.audit.seal_rows import head_of
from workflows.audit.step_records import StageRow
from workflows.engine import Retry, State, Workflow, node, parallel
from workflows.engine.process_limits import ProcessEnd
from workflows.execution import (
    blocked_run_ends,
    pause_records,
    queue,
    recovery,
    rewinds,
    sql,
)
from workflows.execution.record_buffer import RecordBuffer
from workflows.execution.record_rows import Rows
from workflows.execution.rewinds import Position
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Run,
    Stage,
    StageStatus,
    Status,
    current_stage,
    stored_stage,
    with_current,
)
from workflows.models.status_transitions import GIVEN_UP
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.system import System


class Count(State):
    """A counter and its items."""

    n: int = 0
    items: list[int] = []  # noqa: RUF012 - a field
    done: list[int] = []  # noqa: RUF012


def registered(workflow: Workflow[Any]) -> tuple[Registry, System]:
    registry = Registry()
    registry.register(workflow)
    return registry, System(registry)


def stored(run_id: Any) -> Run:
    return Run.objects.get(pk=run_id)


# While it is in progress ----------------------------------------------------------------


@pytest.mark.usefixtures("sealed")
async def test_a_node_runs_after_the_commit_that_names_it_in_the_runs_row() -> None:
    seen: list[tuple[str, Any, list[str]]] = []

    def read_row(run_id: str) -> None:
        run = stored(run_id)
        rows = run.stages.order_by("sequence").values_list("status", flat=True)
        seen.append((run.status, run.current_stage, list(rows)))

    @node
    async def first(state: Count) -> Count:
        await run_in_db(read_row, state.run_id)
        return state

    @node
    async def second(state: Count) -> Count:
        await run_in_db(read_row, state.run_id)
        return state

    registry, system = registered(
        Workflow("two", state=Count, start=first, routes={first: second})
    )
    async with working(registry):
        run = await run_in_db(system.execute, "two", {})
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED
    assert run.current_stage is None
    assert [
        (status, stage["sequence"], stage["node"], stage["tries"], rows)
        for status, stage, rows in seen
    ] == [
        ("running", 1, "first", 1, []),
        ("running", 2, "second", 1, ["completed"]),
    ]


@pytest.mark.usefixtures("sealed")
async def test_each_stage_is_written_as_a_row_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: Counter[tuple[Any, ...]] = Counter()
    driver: Any = type(await run_in_db(sql.driver))
    write_records = driver.write_records

    def count(self: Any, rows: Rows) -> Any:
        written.update((row[0], row[2], row[6]) for row in rows.stages)
        return write_records(self, rows)

    monkeypatch.setattr(driver, "write_records", count)
    failures = [2]

    @node(retry=Retry(attempts=3, on=ValueError, wait=0.001))
    async def flaky(state: Count) -> Count:
        if failures[0]:
            failures[0] -= 1
            raise ValueError("not yet")
        return state.set(items=[1, 2, 3])

    @node
    async def double(item: int) -> int:
        return 2 * item

    doubles = parallel(double, over="items", into="done", name="doubles")
    registry, system = registered(
        Workflow("once", state=Count, start=flaky, routes={flaky: doubles})
    )
    async with working(registry):
        run = await run_in_db(system.execute, "once", {})
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED, run.error_message
    assert written == {
        (run.pk, 1, "completed"): 1,
        (run.pk, 2, "completed"): 1,
    }
    stages = await run_in_db(list, run.stages.order_by("sequence"))
    assert [(stage.tries, stage.items_done) for stage in stages] == [(3, None), (1, 3)]


@pytest.mark.usefixtures("sealed")
async def test_tries_and_finished_items_are_counted_in_the_runs_row() -> None:
    proceed = SharedEvent()
    failures = [1]

    @node(retry=Retry(attempts=2, on=ValueError, wait=0.001))
    async def flaky(state: Count) -> Count:
        if failures[0]:
            failures[0] -= 1
            raise ValueError("not yet")
        await proceed.wait()
        return state.set(items=[0, 1, 2])

    @node
    async def wait(item: int) -> int:
        if item == 2:
            await last.wait()
        return item

    last = SharedEvent()
    waits = parallel(wait, over="items", into="done", name="waits")
    registry, system = registered(
        Workflow("counts", state=Count, start=flaky, routes={flaky: waits})
    )

    def shows(**fields: Any) -> Callable[[Run], bool]:
        return lambda run: (
            run.current_stage is not None
            and fields.items() <= run.current_stage.items()
        )

    async with working(registry):
        run = await run_in_db(system.execute, "counts", {})
        await until(run.pk, shows(node="flaky", tries=2))
        proceed.set()
        await until(run.pk, shows(node="waits", items_done=2, items_total=3))
        last.set()
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED, run.error_message


def shows_progress(*expected: Any) -> Callable[[Run], bool]:
    """Return whether a run shows this node, amount, total and text as in progress."""

    def is_shown(run: Run) -> bool:
        stage = stored_stage(run)
        return stage is not None and expected == (
            stage.node_name,
            stage.progress_done,
            stage.progress_of,
            stage.progress_text,
        )

    return is_shown


@pytest.fixture
def progress_records(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry for each record because of a report."""
    records: list[int] = []
    show = RecordBuffer._show_progress  # noqa: SLF001 - to count its calls

    def show_counted(buffer: RecordBuffer) -> None:
        records.append(1)
        show(buffer)

    monkeypatch.setattr(RecordBuffer, "_show_progress", show_counted)
    return records


@pytest.mark.usefixtures("sealed")
async def test_the_last_report_of_a_node_is_in_the_runs_row_until_its_step_ends(
    progress_records: list[int],
) -> None:
    proceed, last = SharedEvent(), SharedEvent()
    left_behind: list[Runtime] = []

    @node
    async def counts(state: Count, runtime: Runtime) -> Count:
        left_behind.append(runtime)
        for number in range(1_000):
            runtime.progress(number, 1_000, "rows\x00")
        await proceed.wait()
        return state

    @node
    async def after(state: Count, runtime: Runtime) -> Count:
        runtime.progress(1, text="second")
        left_behind[0].progress(5, 5, "of a thread that was left behind")
        await last.wait()
        return state

    registry, system = registered(
        Workflow("counts", state=Count, start=counts, routes={counts: after})
    )
    async with working(registry):
        run = await run_in_db(system.execute, "counts", {})
        await until(run.pk, shows_progress("counts", 999, 1_000, "rows\ufffd"))
        proceed.set()
        await until(run.pk, shows_progress("after", 1, None, "second"))
        last.set()
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED, run.error_message
    rows = await run_in_db(lambda: list(run.stages.all()))
    assert [row.progress_amount for row in rows] == ["", ""]
    assert 2 <= len(progress_records) < 20  # records for 1,002 reports


# Ends that the attempt does not record --------------------------------------------------


def a_run_in_its_second_step(**stage: Any) -> Run:
    """Return a run whose worker has completed one step and executes the next."""
    run = launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    record = record_of(claimed, 1, Step("read"))
    row = StageRow(
        2, "weigh", 2, StageStatus.STARTED, timezone.now(), **{"tries": 2, **stage}
    )
    record.current_stage = row.as_current()
    write(record, head_of(claimed.history_chain_head, claimed.pk))
    return stored(run.pk)


def lose(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_expires_at=GIVEN_UP)
    assert queue.sweep() == [run.pk]


def lose_alone(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(suspicion=2, recoveries=99)
    lose(run)


def cancel_and_lose(run: Run) -> None:
    Run.objects.filter(pk=run.pk).request_cancel(by_id=None, reason="enough")
    lose(run)


def end_child(run: Run) -> None:
    assert recovery.settle_child(run, ProcessEnd(-9))


def go_back(run: Run) -> None:
    assert rewinds.leave(run, Position(sequence=2, fence=1, last_fence=1))


ENDS: dict[str, tuple[Callable[[Run], object], Status, str]] = {
    "its lease expires": (lose, Status.PENDING, ""),
    "it is lost alone again": (lose_alone, Status.FAILED, "weigh"),
    "it is lost after a cancel": (cancel_and_lose, Status.CANCELLED, ""),
    "its child process ends": (end_child, Status.PENDING, ""),
    "its loop is replaced": (
        lambda run: blocked_run_ends.release([run], "The loop was replaced."),
        Status.PENDING,
        "",
    ),
    "it blocks the loop": (
        lambda run: blocked_run_ends.fail(
            run, blocked_run_ends.Failure("held", "weigh")
        ),
        Status.FAILED,
        "weigh",
    ),
    "its child is stopped by a drain": (recovery.requeue_stopped, Status.PENDING, ""),
    "the database goes back": (go_back, Status.PENDING, ""),
}


@pytest.mark.django_db
@pytest.mark.parametrize("how", ENDS)
def test_a_stage_in_progress_is_interrupted_when_its_attempt_ends(how: str) -> None:
    run = a_run_in_its_second_step(items_done=3, items_total=8)
    assert found_in(run) == []
    end, status, node_name = ENDS[how]
    end(run)
    after = stored(run.pk)
    assert (after.status, after.error_node) == (status, node_name)
    assert after.current_stage is None
    first, second = after.stages.order_by("sequence")
    assert first.status == StageStatus.COMPLETED
    assert (
        second.node_name, second.attempt, second.sequence, second.iteration,
        second.tries, second.status, second.items_done, second.items_total,
        second.duration_ms,
    ) == ("weigh", 1, 2, 2, 2, StageStatus.INTERRUPTED, 3, 8, None)  # fmt: skip
    assert second.created_at == stored_stage(run).created_at  # type: ignore[union-attr]
    assert second.seal is not None
    assert found() == []


@pytest.mark.django_db
def test_a_run_is_charged_for_the_node_that_its_row_names_now(settings: Any) -> None:
    settings.MAX_RECOVERIES = 1
    read_before = a_run_in_its_second_step()
    later = json.dumps({**read_before.current_stage, "node": "publish"})
    Run.objects.filter(pk=read_before.pk).update(current_stage=json.loads(later))
    assert recovery.settle_child(read_before, ProcessEnd(-9))
    run = stored(read_before.pk)
    assert (run.status, run.error_node) == (Status.FAILED, "publish")
    assert "node “publish” ended with signal 9" in run.error_message


@pytest.mark.django_db
def test_a_claim_starts_without_a_stage_in_progress() -> None:
    """A worker of an older release recovers a run without touching the column."""
    run = a_run_in_its_second_step()
    assert Run.objects.filter(pk=run.pk).release()
    (claimed,) = queue.claim(WORKER, 1).runs
    assert claimed.current_stage is None
    assert stored(run.pk).current_stage is None


@pytest.mark.django_db
def test_a_record_that_is_written_again_leaves_the_same_stage_in_progress() -> None:
    run = launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    record = record_for(claimed, 0)
    row = StageRow(1, "read", 1, StageStatus.STARTED, timezone.now())
    record.current_stage = row.as_current()
    head = head_of(claimed.history_chain_head, claimed.pk)
    write(record, head)
    before = stored(run.pk)
    write(record, head)
    after = stored(run.pk)
    assert after.current_stage == before.current_stage == json.loads(row.as_current())
    assert after.history_chain_head == before.history_chain_head


# Pauses ---------------------------------------------------------------------------------


def a_run_that_continues_a_pause() -> Run:
    """Return a run that executes the step at which its first attempt paused."""
    run = launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    record = record_for(claimed, 0)
    record.status, record.waiting_node = Status.WAITING, "ask"
    began = timezone.now()
    record.stages = [StageRow(1, "ask", 1, StageStatus.WAITING, began, duration_ms=1.0)]
    write(record, head_of(claimed.history_chain_head, claimed.pk))
    assert Run.objects.filter(pk=run.pk).wake()
    (claimed,) = queue.claim(WORKER, 1).runs
    assert pause_records.waiting_since(claimed) == began
    record = record_for(claimed, 0)
    record.waiting_node = "ask"
    row = StageRow(1, "ask", 1, StageStatus.STARTED, began)
    record.current_stage = row.as_current()
    write(record, head_of(claimed.history_chain_head, claimed.pk))
    return claimed


@pytest.mark.django_db
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_step_that_continues_a_pause_is_one_stage(is_lost: bool) -> None:
    run = a_run_that_continues_a_pause()
    (row,) = run.stages.all()
    (stage,) = System().get_stages(run.pk)
    assert (row.attempt, row.status) == (2, StageStatus.WAITING)
    assert (stage.attempt, stage.status) == (2, StageStatus.STARTED)
    assert found() == []
    if is_lost:
        lose(stored(run.pk))
    else:
        record = record_of(run, 1, Step("ask"))
        write(record, head_of(stored(run.pk).history_chain_head, run.pk))
    (ended_row,) = run.stages.all()
    assert ended_row.pk == row.pk
    assert ended_row.status == (
        StageStatus.INTERRUPTED if is_lost else StageStatus.COMPLETED
    )
    assert found() == []


# Stages that an older release began -----------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("is_lost", [True, False])
def test_a_stage_that_an_older_release_began_is_shown_and_ended(
    is_lost: bool, settings: Any
) -> None:
    settings.MAX_RECOVERIES = 1
    run = launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    Stage.objects.create(
        run=run, attempt=1, sequence=1, node_name="read", iteration=1,
        status=StageStatus.STARTED,
    )  # fmt: skip
    (shown,) = System().get_stages(run.pk)
    assert shown.status == StageStatus.STARTED
    assert found() == []
    if is_lost:
        assert recovery.settle_child(claimed, ProcessEnd(-9))
        assert stored(run.pk).error_node == "read"
    else:
        record = record_of(claimed, 1, Step("read"))
        write(record, head_of(claimed.history_chain_head, claimed.pk))
    (stage,) = run.stages.all()
    assert stage.status == (
        StageStatus.INTERRUPTED if is_lost else StageStatus.COMPLETED
    )
    assert found() == []


# Readers --------------------------------------------------------------------------------


def row_of(run: Run, *, status: str, sequence: int = 2) -> Stage:
    return Stage(run=run, attempt=1, sequence=sequence, status=status, node_name="x")


def test_rows_that_were_read_after_the_run_replace_its_stage_in_progress() -> None:
    run = Run(status=Status.RUNNING, attempt=1)
    row = StageRow(2, "weigh", 2, StageStatus.STARTED, timezone.now())
    run.current_stage = json.loads(row.as_current())
    first = row_of(run, status=StageStatus.COMPLETED, sequence=1)
    pause = row_of(run, status=StageStatus.WAITING)
    is_over = row_of(run, status=StageStatus.COMPLETED)
    later = row_of(run, status=StageStatus.COMPLETED, sequence=3)
    assert [one.node_name for one in with_current(run, [first])] == ["x", "weigh"]
    assert [one.node_name for one in with_current(run, [first, pause])] == [
        "x",
        "weigh",
    ]
    assert with_current(run, [first, is_over]) == [first, is_over]
    assert with_current(run, [later]) == [later]
    run.status = Status.FAILED
    assert current_stage(run) is None
    assert with_current(run, [first]) == [first]
