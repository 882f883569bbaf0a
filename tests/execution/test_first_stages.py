"""A claim records that the first node starts, so that the node waits for no further record."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError
from django.utils import timezone
from pydantic import Field

from tests.support import sealed_runs
from tests.support.workers import ended, working
from workflows.audit import audit_events
from workflows.audit.step_records import StageRow
from workflows.engine import State, Workflow, node
from workflows.engine.events import Event, EventType
from workflows.execution import queue, sql
from workflows.execution.record_pipeline import Drained
from workflows.execution.recorder import Recorder
from workflows.execution.writer import LoopAbandoned, Writer
from workflows.infra.database_threads import run_in_db
from workflows.models import Attempt, Checkpoint, Run, Stage, StageStatus, Status
from workflows.registry import Registry
from workflows.system import System

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sealed"),
]


class Fixed(State):
    """A state that the params decide."""

    n: int = 0
    names: list[str] = Field(default_factory=list)


class Computed(State):
    """A state with a value of its own in each attempt that creates it again."""

    number: str = Field(default_factory=lambda: uuid.uuid4().hex)


def workflow(
    state: type[State], read: Callable[[str], Any], seen: list[Any]
) -> tuple[Registry, System]:
    """Return a workflow whose only node adds to `seen` what it reads of its run."""

    @node(name="only")
    async def only(value: State) -> State:
        seen.append(await run_in_db(read, value.run_id))
        return value

    registry = Registry()
    registry.register(Workflow("first", state=state, start=only, routes={}))
    return registry, System(registry)


def stored(run_id: str) -> tuple[Any, int]:
    """Return the stage in progress of a run, and the number of its states."""
    run = Run.objects.get(pk=run_id)
    return run.current_stage, Checkpoint.objects.filter(run=run).count()


def launched() -> Run:
    """Return a pending run whose graph begins at “only”."""
    run = Run(workflow_name="first", graph={"entry": "only"})
    queue.enqueue(run, audit_events.entry(run, "launch", by=None, after=Status.PENDING))
    return run


def test_the_claim_of_a_new_run_records_the_stage_in_the_form_of_the_recorder() -> None:
    launched()
    (run,) = queue.claim("worker", 1).runs
    assert run.started_at is not None
    stage = StageRow(1, "only", 1, StageStatus.STARTED, run.started_at)
    assert run.current_stage == json.loads(stage.as_current())
    assert Run.objects.get(pk=run.pk).current_stage == run.current_stage
    assert sealed_runs.found() == []


def test_a_run_that_is_claimed_again_or_has_no_graph_records_its_stage_itself() -> None:
    launched()
    (run,) = queue.claim("worker", 1).runs
    Run.objects.filter(pk=run.pk).release()
    sealed_runs.launch()
    claimed = queue.claim("worker", 2).runs
    assert [(run.attempt, run.current_stage) for run in claimed] == [
        (2, None),
        (1, None),
    ]


@pytest.mark.parametrize("is_claimed_in_launch", [True, False])
async def test_the_first_node_begins_before_the_initial_state_is_stored(
    is_claimed_in_launch: bool,
) -> None:
    seen: list[Any] = []
    registry, system = workflow(Fixed, stored, seen)
    if not is_claimed_in_launch:
        run = await run_in_db(system.execute, "first")
    async with working(registry):
        if is_claimed_in_launch:
            run = await run_in_db(system.execute, "first")
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED
    ((stage, states),) = seen
    assert (stage["sequence"], stage["node"], stage["iteration"]) == (1, "only", 1)
    assert states == 0
    sequences = Checkpoint.objects.filter(run=run).order_by("sequence")
    assert await run_in_db(lambda: [*sequences.values_list("sequence", flat=True)]) == [
        0,
        1,
    ]


async def test_a_computed_initial_state_is_stored_before_the_first_node_begins() -> (
    None
):
    """A repetition of the node has to read the same value."""
    seen: list[Any] = []
    registry, system = workflow(Computed, stored, seen)
    async with working(registry):
        run = await run_in_db(system.execute, "first")
        await ended(run.pk)
    ((stage, states),) = seen
    assert (stage["node"], states) == ("only", 1)


async def test_a_run_that_could_not_be_prepared_has_no_stage() -> None:
    registry, system = workflow(Fixed, stored, [])
    run = await run_in_db(system.execute, "first")
    await run_in_db(Run.objects.filter(pk=run.pk).update, fingerprint="another")
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.attempt, run.current_stage) == (Status.FAILED, 1, None)
    assert "has changed since this run started" in run.error_message
    assert not await run_in_db(Stage.objects.filter(run=run).exists)


async def test_the_stage_of_a_first_node_whose_record_is_refused_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver: Any = type(await run_in_db(sql.driver))
    write_records = driver.write_records
    refused: list[bool] = []

    def refuse_first(self: Any, rows: Any) -> Any:
        if not refused:
            refused.append(True)
            raise DataError("the value is out of range")
        return write_records(self, rows)

    seen: list[Any] = []
    registry, system = workflow(Fixed, stored, seen)
    monkeypatch.setattr(driver, "write_records", refuse_first)
    async with working(registry):
        run = await run_in_db(system.execute, "first")
        run = await ended(run.pk)
    assert (run.error_code, len(seen)) == ("checkpoint_save_failed", 1)
    (stage,) = await run_in_db(lambda: [*Stage.objects.filter(run=run)])
    assert (stage.node_name, stage.status) == ("only", StageStatus.INTERRUPTED)


# Attempts that wait for a record -------------------------------------------------------------


@pytest.fixture
async def writer() -> Any:
    """Provide a started writer."""
    writer = Writer(lambda _versions: None)
    writer.start()
    yield writer
    await asyncio.to_thread(writer.stop)


async def at_the_first_node(
    writer: Writer, run: Run, *, draining: bool = False
) -> Recorder:
    """Return the recorder of a claimed run whose first node is about to start."""
    recorder = Recorder(run, writer, draining=lambda: draining)
    recorder.has_fixed_start = True
    recorder.save(State().stamped(run_id=str(run.pk)))
    data = {"node": "only", "sequence": 1, "iteration": 1}
    recorder.on_event(Event(EventType.NODE_START, timezone.now(), "first", data))
    return recorder


def claimed() -> Run:
    launched()
    (run,) = queue.claim("worker", 1).runs
    return run


@pytest.mark.parametrize(("age", "records"), [(0.0, 0), (3_600.0, 1), (-3_600.0, 1)])
async def test_a_claim_that_is_not_recent_is_confirmed_before_the_first_node(
    writer: Writer, age: float, records: int
) -> None:
    """Its lease may have been lost in the meantime, for instance to a stopped process."""
    run = await run_in_db(claimed)
    before = run.fence
    assert run.started_at is not None
    run.started_at -= timedelta(seconds=age)
    recorder = await at_the_first_node(writer, run)
    await recorder.flush()
    assert run.fence - before == records


async def test_a_worker_that_drains_releases_a_run_without_its_first_stage(
    writer: Writer,
) -> None:
    run = await run_in_db(claimed)
    recorder = await at_the_first_node(writer, run, draining=True)
    with pytest.raises(Drained):
        await recorder.flush()
    row = await run_in_db(Run.objects.get, pk=run.pk)
    assert (row.status, row.current_stage) == (Status.PENDING, None)
    assert not await run_in_db(Stage.objects.filter(run=run).exists)


async def test_an_abandoned_loop_begins_no_first_node(writer: Writer) -> None:
    run = await run_in_db(claimed)
    recorder = await at_the_first_node(writer, run)
    writer.refuse(asyncio.get_running_loop())
    with pytest.raises(LoopAbandoned):
        await recorder.flush()


async def test_a_run_that_begins_at_another_node_records_that_one(
    writer: Writer,
) -> None:
    """The graph of its factory depends on the params."""
    run = await run_in_db(claimed)
    before = run.fence
    run.current_stage["node"] = "another"
    recorder = await at_the_first_node(writer, run)
    await recorder.flush()
    assert run.fence == before + 1
    stored_run = await run_in_db(Run.objects.get, pk=run.pk)
    assert stored_run.current_stage["node"] == "only"
    assert not await run_in_db(
        Attempt.objects.filter(run=run).exclude(outcome="").exists
    )
