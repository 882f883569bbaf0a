"""Launches are committed together, and claimed in the same commit where no run waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from tests.support import sealed_runs
from tests.support.workers import (
    TIMEOUT_SECONDS,
    SharedEvent,
    ended,
    reaches,
    until,
    working,
)
from workflows.audit import audit_events
from workflows.engine import State, Workflow, node
from workflows.execution import launch_commits, queue, sql
from workflows.execution.worker import Worker
from workflows.execution.worker_slots import Slots
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Attempt,
    AuditEvent,
    Outcome,
    Run,
    Stage,
    StageStatus,
    Status,
)
from workflows.registry import Registry
from workflows.system import System

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sealed"),
]

FAR_FUTURE = 3_000  # seconds: no sweep during a test
GONE = "server closed the connection unexpectedly"


class Held:
    """A workflow whose only node waits, and counts how many do so at once."""

    def __init__(self) -> None:
        self.entered, self.proceed = SharedEvent(), SharedEvent()
        self.most = self._now = 0

        @node
        async def only(state: State) -> State:
            self._now += 1
            self.most = max(self.most, self._now)
            self.entered.set()
            await self.proceed.wait()
            self._now -= 1
            return state

        self.registry = Registry()
        self.registry.register(Workflow("held", state=State, start=only, routes={}))
        self.system = System(self.registry)

    def launch(self, **options: Any) -> Run:
        return self.system.execute("held", **options)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def free(held: Held) -> Held:
    """Return a workflow whose node does not wait."""
    held.proceed.set()
    return held


@pytest.fixture(autouse=True)
def no_sweep(settings: Any) -> None:
    """Disable the sweep of workers."""
    settings.POLL_INTERVAL_SECONDS = FAR_FUTURE


class Inserts:
    """The commits of launches: the first can be held up, and each can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.offers: list[sql.Offer | None] = []
        self.reached, self.proceed = threading.Event(), threading.Event()
        self.proceed.set()
        self.after: Callable[[], None] = lambda: None
        self._insert = queue.insert
        monkeypatch.setattr(queue, "insert", self.insert)

    def insert(
        self, launches: Sequence[sql.NewRun], offer: sql.Offer | None = None
    ) -> dict[UUID, str]:
        self.batches.append(len(launches))
        self.offers.append(offer)
        self.reached.set()
        assert self.proceed.wait(TIMEOUT_SECONDS)
        inserted = self._insert(launches, offer)
        self.after()
        return inserted


@pytest.fixture
def inserts(monkeypatch: pytest.MonkeyPatch) -> Inserts:
    return Inserts(monkeypatch)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Return a semaphore that counts the launches that wait for another one's commit."""
    counter = threading.Semaphore(0)
    wait = launch_commits.LaunchCommits._wait  # noqa: SLF001 - the place of the wait

    def counted(commits: Any, launch: Any) -> None:
        counter.release()
        wait(commits, launch)

    monkeypatch.setattr(launch_commits.LaunchCommits, "_wait", counted)
    return counter


def outcome(act: Callable[[], Any]) -> Any:
    """Return the result of an action in a thread of its own, or its error."""
    try:
        return act()
    except Exception as error:
        return error
    finally:
        connection.close()


def launched_together(
    inserts: Inserts, waiting: threading.Semaphore, *actions: Callable[[], Any]
) -> list[Any]:
    """Do the first action, and the others during its commit; return the outcome of each."""
    inserts.proceed.clear()
    with ThreadPoolExecutor(len(actions)) as threads:
        futures = [threads.submit(outcome, actions[0])]
        assert inserts.reached.wait(TIMEOUT_SECONDS)
        futures += [threads.submit(outcome, act) for act in actions[1:]]
        for _ in actions[1:]:
            assert waiting.acquire(timeout=TIMEOUT_SECONDS)
        inserts.proceed.set()
        return [future.result(TIMEOUT_SECONDS) for future in futures]


# Group commit ------------------------------------------------------------------------------


def test_launches_that_come_during_a_commit_are_committed_together(
    held: Held, inserts: Inserts, waiting: threading.Semaphore
) -> None:
    launched = launched_together(inserts, waiting, *[held.launch] * 10)
    assert inserts.batches == [1, 9]
    assert {run.pk for run in launched} == {*Run.objects.values_list("pk", flat=True)}
    assert AuditEvent.objects.filter(action="launch").count() == 10


def test_a_launch_with_a_key_in_use_or_a_refused_row_affects_no_other(
    held: Held, inserts: Inserts, waiting: threading.Semaphore
) -> None:
    """The last one is launched by an account that does not exist: the batch is refused."""
    unknown = User(pk=999_999, username="nobody", is_superuser=True)
    actions = [
        held.launch,
        lambda: held.launch(idempotency_key="order 7"),
        lambda: held.launch(idempotency_key="order 7"),
        held.launch,
        lambda: held.launch(by=unknown),
    ]
    results = launched_together(inserts, waiting, *actions)
    first, one, same, other, refused = results
    assert isinstance(refused, IntegrityError)
    assert one.pk == same.pk
    stored = {*Run.objects.values_list("pk", flat=True)}
    assert stored == {first.pk, one.pk, other.pk}
    assert AuditEvent.objects.filter(action="launch").count() == 3


def test_an_outage_gives_every_launch_of_a_batch_an_error_of_its_own(
    held: Held, inserts: Inserts, waiting: threading.Semaphore
) -> None:
    def lose_reply() -> None:
        if len(inserts.batches) > 1:
            raise OperationalError(GONE)

    inserts.after = lose_reply
    first, *lost = launched_together(inserts, waiting, *[held.launch] * 4)
    assert isinstance(first, Run)
    assert [str(error) for error in lost] == [GONE] * 3
    assert {type(error) for error in lost} == {OperationalError}
    assert len({id(error) for error in lost}) == 3
    assert inserts.batches == [1, 3], "nothing is sent again: it may be committed"
    inserts.after = lambda: None
    assert isinstance(held.launch(), Run), "the next launch is committed as usual"


def test_a_launch_in_a_transaction_is_committed_or_rolled_back_with_it(
    held: Held, inserts: Inserts
) -> None:
    with transaction.atomic():
        held.launch()
        transaction.set_rollback(True)
    assert not Run.objects.exists()
    assert inserts.batches == [1]


# A run that is claimed in its launch ---------------------------------------------------------


def inserted(further: int | None, **columns: Any) -> Run:
    """Insert a run, with an offer unless `further` is None; return its row."""
    run = Run(workflow_name="held", params={"n": 1e22}, **columns)
    event = audit_events.entry(run, "launch", by=None, after=Status.PENDING)
    queue.seal(run, event)
    offer = None
    if further is not None:
        offer = sql.Offer("worker-7", queue.new_fence(), timezone.now(), further)
    queue.insert([sql.NewRun(run, event)], offer)
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize(
    ("pending", "further", "status"),
    [
        (0, None, Status.PENDING),
        (0, 0, Status.RUNNING),
        (1, 0, Status.PENDING),
        (2, 1, Status.PENDING),
        (2, 2, Status.RUNNING),
    ],
)
def test_a_run_is_claimed_in_its_launch_if_a_slot_is_left_for_each_pending_run(
    pending: int, further: int | None, status: str
) -> None:
    for _ in range(pending):
        sealed_runs.launch(workflow="other")
    run = inserted(further, priority=5)
    assert run.status == status
    assert Attempt.objects.filter(run=run).count() == (status == Status.RUNNING)
    assert AuditEvent.objects.filter(run=run, action="launch").count() == 1
    assert sealed_runs.found() == []


def test_a_run_that_is_claimed_in_its_launch_is_as_a_claim_would_have_read_it() -> None:
    graph = {"entry": "only"}
    params = {"n": [1e22, -0.0]}
    run = Run(workflow_name="held", params=params, graph=graph, priority=2)
    event = audit_events.entry(run, "launch", by=None, after=Status.PENDING)
    queue.seal(run, event)
    offer = sql.Offer("worker-7", queue.new_fence(), timezone.now(), 0)
    mine = sql.launches.claimed(run, offer)
    queue.insert([sql.NewRun(run, event)], offer)
    row = Run.objects.get(pk=run.pk)
    unread = mine.get_deferred_fields()
    assert unread == {"graph", "result", "title"}
    for field in Run._meta.concrete_fields:  # noqa: SLF001 - every column is compared
        name = field.attname
        if name not in unread | {"lease_expires_at"}:
            assert getattr(mine, name) == getattr(row, name), name
    assert row.lease_expires_at is not None
    assert row.lease_expires_at > timezone.now()
    attempt = Attempt.objects.get(run=row)
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "worker-7", "")
    assert attempt.started_at == row.started_at
    assert queue.renew("worker-7", {row.pk: mine.fence}) == {row.pk: (1, None)}


async def test_an_idle_worker_executes_launches_of_its_process_without_a_claim(
    free: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[int] = []
    claim = queue.claim
    first = SharedEvent()

    def counted(worker: str, limit: int) -> sql.Claimed:
        claims.append(limit)
        found = claim(worker, limit)
        first.set()
        return found

    monkeypatch.setattr(queue, "claim", counted)
    async with working(free.registry) as worker:
        await first.wait()
        await listening(worker)
        before = len(claims)
        for _ in range(5):
            run = await run_in_db(free.launch)
            run = await ended(run.pk)
            assert (run.status, run.attempt, run.worker) == (
                "completed",
                1,
                worker.name,
            )
        assert len(claims) == before


async def listening(worker: Worker) -> None:
    """Return once the worker has checked the queue after it joined the messages."""
    pending = await run_in_db(sealed_runs.launch, workflow="unknown")
    worker.wake()
    await ended(pending.pk)


async def test_a_full_worker_claims_a_pending_run_when_a_slot_is_free(
    held: Held,
) -> None:
    async with working(held.registry, capacity=1):
        first = await run_in_db(held.launch)
        await reaches(first.pk, Status.RUNNING)
        second = await run_in_db(held.launch)
        assert (await run_in_db(Run.objects.get, pk=second.pk)).status == "pending"
        held.proceed.set()
        for run in (first, second):
            assert (await ended(run.pk)).status == "completed"


async def test_a_worker_never_holds_more_runs_than_it_has_slots(held: Held) -> None:
    async with working(held.registry, capacity=3):
        with ThreadPoolExecutor(50) as threads:
            launches = [threads.submit(outcome, held.launch) for _ in range(50)]
            await held.entered.wait()
            held.proceed.set()
            runs = [await asyncio.wrap_future(launch) for launch in launches]
        for run in runs:
            assert (await ended(run.pk)).attempt == 1
    assert held.most <= 3


async def test_only_the_worker_that_has_exactly_this_workflow_claims_its_launch(
    free: Held, inserts: Inserts
) -> None:
    another = Held()
    another.proceed.set()
    async with working(another.registry, name="another") as worker:
        await listening(worker)
        await run_in_db(free.launch)
        assert inserts.offers[-1] is None, "its workflow only has the same name"
        async with working(free.registry, name="right") as right:
            await listening(right)
            run = await run_in_db(free.launch)
            assert (await ended(run.pk)).worker == "right"


async def test_a_drain_waits_for_a_launch_that_is_being_committed(
    free: Held, inserts: Inserts
) -> None:
    async with working(free.registry, name="first") as first:
        await listening(first)
        inserts.reached.clear()
        inserts.proceed.clear()
        launching = asyncio.create_task(run_in_db(free.launch))
        await asyncio.to_thread(inserts.reached.wait, TIMEOUT_SECONDS)
        drained = asyncio.create_task(first.drain(grace_seconds=0))
        await asyncio.sleep(0)
        inserts.proceed.set()
        run = await launching
        await drained
        row = await run_in_db(Run.objects.get, pk=run.pk)
        assert row.status in {"pending", "completed"}, "it waits for its lease to end"
        later = await run_in_db(free.launch)
        assert (await run_in_db(Run.objects.get, pk=later.pk)).status == "pending"
    async with working(free.registry, name="second"):
        for one in (run, later):
            assert (await ended(one.pk)).status == "completed"


async def test_a_launch_whose_reply_was_lost_is_executed_if_it_was_committed(
    free: Held, inserts: Inserts
) -> None:
    def lose_reply() -> None:
        inserts.after = lambda: None
        raise OperationalError(GONE)

    async with working(free.registry) as worker:
        await listening(worker)
        inserts.after = lose_reply
        with pytest.raises(OperationalError, match=GONE):
            await run_in_db(lambda: free.launch(idempotency_key="order 7"))
        again = await run_in_db(lambda: free.launch(idempotency_key="order 7"))
        run = await until(again.pk, lambda run: run.status == "completed")
    outcomes = Attempt.objects.filter(run=run).order_by("number")
    assert await run_in_db(lambda: [*outcomes.values_list("number", "outcome")]) == [
        (1, Outcome.RELEASED),
        (2, Outcome.COMPLETED),
    ]
    stages = Stage.objects.filter(run=run)
    assert await run_in_db(lambda: [*stages.values_list("attempt", "status")]) == [
        (2, StageStatus.COMPLETED)
    ]


async def test_a_run_whose_process_ends_after_its_launch_is_recovered(
    free: Held, settings: Any
) -> None:
    """As a process leaves it that is killed before its worker has the run."""
    settings.POLL_INTERVAL_SECONDS = settings.HEARTBEAT_SECONDS = 0.05
    settings.LEASE_SECONDS = 0.5
    run = await run_in_db(inserted, 0, graph={"entry": "only"})
    assert run.current_stage["node"] == "only"
    async with working(free.registry):
        run = await ended(run.pk)
    assert (run.status, run.attempt) == ("completed", 2)
    lost = await run_in_db(Attempt.objects.get, run=run, number=1)
    assert (lost.outcome, lost.worker) == (Outcome.LOST, "worker-7")
    stage = await run_in_db(Stage.objects.get, run=run, attempt=1)
    assert stage.status == StageStatus.INTERRUPTED, "the node may have started"


# Slots --------------------------------------------------------------------------------------


def test_a_claim_leaves_half_of_the_free_slots_to_launches_while_there_are_some() -> (
    None
):
    in_use = 0
    slots = Slots(8, lambda: in_use)
    assert slots.reserve_for_claim() == 8, "there was no launch"
    assert slots.reserve_for_launches(1) is None
    slots.end_reservation(8)
    assert slots.reserve_for_claim() == 4
    assert slots.reserve_for_launches(3) == 1
    assert slots.reserve_for_launches(2) is None
    in_use = 1
    assert slots.reserve_for_launches(1) is None
    slots.end_reservation(4)
    assert slots.reserve_for_launches(1) == 3


async def test_slots_are_closed_when_no_reservation_is_left() -> None:
    slots = Slots(2, lambda: 0)
    assert slots.reserve_for_launches(1) == 1
    closing = asyncio.create_task(slots.close())
    await asyncio.sleep(0)
    assert slots.reserve_for_launches(1) is None
    assert slots.reserve_for_claim() == 0
    assert not closing.done()
    await asyncio.to_thread(slots.end_reservation, 1)
    await asyncio.wait_for(closing, TIMEOUT_SECONDS)
