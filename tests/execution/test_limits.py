"""Limits of workflows hold exactly, also for many claims and launches at the same time."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_run
from tests.support.workers import SharedEvent, ended, reaches, working
from workflows.engine import Limits, State, Workflow, node
from workflows.engine.errors import LimitKeyInvalid
from workflows.errors import LimitReached
from workflows.execution import limited_claims, queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AuditEvent,
    Fork,
    ForkKind,
    LimitCheck,
    LimitStart,
    Run,
    Status,
    Suspicion,
    WorkflowPause,
)
from workflows.registry import Registry
from workflows.system import System

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WORKERS = 10
NAME = "mail"
AT_ONCE, PER_MINUTE = 3, 5


class Letter(BaseModel):
    """Params: the tenant, which is the key of the limits."""

    tenant: str = "a"


class Post(State):
    """State of the limited workflow."""

    params: Letter = Letter()


@node
def post(state: Post) -> Post:
    return state


def limited(**limits: Any) -> System:
    """Return a system with a workflow that has these limits, by tenant."""
    registry = Registry()
    limits.setdefault("key", lambda params: params.tenant)
    registry.register(
        Workflow(NAME, state=Post, start=post, routes={}, limits=Limits(**limits))
    )
    return System(registry)


def launch(system: System, tenant: str = "a", **options: Any) -> Run:
    return system.execute(NAME, {"tenant": tenant}, **options)


def claim(
    system: System, limit: int = 9, worker: str = "w", **options: Any
) -> list[Run]:
    return limited_claims.claim(worker, limit, system._registry, **options).runs  # noqa: SLF001


def finish(run: Run) -> None:
    assert Run.objects.filter(pk=run.pk).finish(Status.COMPLETED)


def statuses(*runs: Run) -> list[str]:
    return [Run.objects.get(pk=run.pk).status for run in runs]


# At once --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_more_runs_of_a_key_start_than_may_run_at_once() -> None:
    system = limited(at_once=2)
    a1, a2, a3 = (launch(system) for _ in range(3))
    b1 = launch(system, "b")
    assert {run.pk for run in claim(system)} == {a1.pk, a2.pk, b1.pk}
    assert claim(system) == []
    finish(b1)
    assert claim(system) == []
    finish(a2)
    assert [run.pk for run in claim(system)] == [a3.pk]


@pytest.mark.django_db
def test_the_queue_does_not_claim_a_run_with_limits() -> None:
    system = limited(at_once=2)
    launch(system)
    other = make_run(workflow_name="print", status=Status.PENDING)
    claimed = queue.claim("w", 9)
    assert [run.pk for run in claimed.runs] == [other.pk]
    assert claimed.limits_due_at == 0


@pytest.mark.django_db
def test_runs_with_and_without_limits_are_claimed_by_priority_and_age() -> None:
    system = limited(at_once=9)
    low = launch(system)
    urgent = launch(system, "b", priority=5)
    others = [make_run(workflow_name="print", status="pending") for _ in range(3)]
    highest = make_run(workflow_name="print", status="pending", priority=9)
    assert {run.pk for run in claim(system, 2)} == {highest.pk, urgent.pk}
    assert {run.pk for run in claim(system, 2)} == {low.pk, others[0].pk}


@pytest.mark.django_db
def test_a_run_that_waits_has_no_slot_and_takes_one_when_it_continues() -> None:
    system = limited(at_once=1)
    first, second, third = (launch(system) for _ in range(3))
    claim(system)
    running = Run.objects.filter(pk=first.pk)
    running.update(status=Status.WAITING, lease_expires_at=None)
    assert [run.pk for run in claim(system)] == [second.pk]
    running.wake()
    assert claim(system) == []
    finish(second)
    assert [run.pk for run in claim(system)] == [first.pk]
    finish(first)
    assert [run.pk for run in claim(system)] == [third.pk]


@pytest.mark.django_db
def test_a_suspect_takes_a_slot_like_any_run() -> None:
    system = limited(at_once=1)
    first, second = launch(system), launch(system)
    claim(system)
    Run.objects.filter(pk=first.pk).recover()
    assert [run.pk for run in claim(system)] == [second.pk]
    assert claim(system, suspicion=Suspicion.SUSPECT) == []
    finish(second)
    assert [run.pk for run in claim(system, suspicion=Suspicion.SUSPECT)] == [first.pk]


@pytest.mark.django_db
def test_a_paused_workflow_starts_none_of_its_runs_with_limits() -> None:
    system = limited(at_once=2)
    started, new = launch(system), launch(system)
    claim(system, 1)
    WorkflowPause.objects.create(workflow_name=NAME, paused_by_name="alice")
    Run.objects.filter(pk=started.pk).release()
    assert [run.pk for run in claim(system)] == [started.pk]
    assert claim(system) == []
    system.unpause_workflow(NAME, by=None)
    assert [run.pk for run in claim(system)] == [new.pk]


def in_threads(act: Callable[[int], Any], count: int = WORKERS) -> list[Any]:
    """Return the outcomes of an action in many threads that start together."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait(60)
        try:
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as threads:
        return [
            task.result(120) for task in [threads.submit(one, n) for n in range(count)]
        ]


@pytest.mark.django_db(transaction=True)
def test_ten_workers_never_run_more_than_may_run_at_once() -> None:
    system = limited(at_once=AT_ONCE)
    for number in range(30):
        launch(system, "ab"[number % 2])
    most: list[int] = []

    def work(number: int) -> int:
        done = 0
        while Run.objects.exclude(status=Status.COMPLETED).exists():
            for run in claim(system, 2, f"w{number}"):
                most.append(
                    limited_claims.running_of((NAME, run.limit_key or "")).count()
                )
                finish(run)
                done += 1
        return done

    assert sum(in_threads(work)) == 30
    assert max(most) <= AT_ONCE
    assert not LimitCheck.objects.exclude(due_at=0).exists()


# Per minute -----------------------------------------------------------------------------


class Clock:
    """A clock that moves by a second whenever it is read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.time = timezone.now()

    def now(self) -> dt.datetime:
        with self._lock:
            self.time += dt.timedelta(seconds=1)
            return self.time


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limited_claims, "clock", clock)
    return clock


@pytest.mark.django_db(transaction=True)
def test_ten_workers_never_start_more_in_a_minute_than_may_start(moved: Clock) -> None:
    system = limited(per_minute=PER_MINUTE)
    for _ in range(22):
        launch(system)

    def work(number: int) -> None:
        while Run.objects.filter(attempt=0).exists():
            for run in claim(system, 2, f"w{number}"):
                finish(run)

    in_threads(work)
    starts = sorted(run.started_at for run in Run.objects.all() if run.started_at)
    assert len(starts) == 22
    for before, after in zip(starts, starts[PER_MINUTE:], strict=False):
        assert after - before >= dt.timedelta(seconds=60)
    assert LimitStart.objects.count() <= PER_MINUTE


@pytest.mark.django_db
def test_a_key_is_checked_again_when_a_minute_has_passed(moved: Clock) -> None:
    system = limited(per_minute=1, at_once=9)
    launch(system)
    second = launch(system)
    (first,) = claim(system)
    found = limited_claims.claim("w", 9, system._registry)  # noqa: SLF001
    assert found.runs == []
    assert first.started_at is not None
    assert found.limits_due_at == first.started_at.timestamp() + 60
    moved.time = first.started_at + dt.timedelta(seconds=59)
    assert [run.pk for run in claim(system)] == [second.pk]


@pytest.mark.django_db
def test_a_run_that_continues_is_not_a_start(moved: Clock) -> None:
    system = limited(per_minute=1)
    run, other = launch(system), launch(system)
    claim(system)
    Run.objects.filter(pk=run.pk).release()
    assert [one.pk for one in claim(system)] == [run.pk]
    assert statuses(other) == ["pending"]


@pytest.mark.django_db
def test_a_fork_starts_like_a_launch_and_continues_like_any_run(moved: Clock) -> None:
    system = limited(per_minute=1, at_once=9)
    origin = launch(system)
    (started,) = claim(system)
    finish(started)
    fork = make_run(
        workflow_name=NAME,
        status=Status.PENDING,
        limit_key=origin.limit_key,
        attempt=1,
    )
    Fork.objects.create(
        run=fork,
        kind=ForkKind.RERUN,
        origin_key=origin.pk,
        kept=0,
        attempt=1,
        enters_after=0,
    )
    assert claim(system) == [], "the minute has its start"
    assert started.started_at is not None
    moved.time = started.started_at + dt.timedelta(seconds=60)
    assert [run.pk for run in claim(system)] == [fork.pk]
    later = launch(system)
    assert claim(system) == [], "the fork was a start"
    Run.objects.filter(pk=fork.pk).release()
    assert [run.pk for run in claim(system)] == [fork.pk]
    assert statuses(later) == ["pending"]


# Refuse, replace, debounce -----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_many_launches_at_once_the_limit_accepts_its_number() -> None:
    system = limited(at_once=AT_ONCE, when_full="refuse")

    def act(_number: int) -> Any:
        try:
            return launch(system)
        except LimitReached as error:
            return error

    came = in_threads(act)
    assert [type(one) for one in came].count(Run) == AT_ONCE
    (text,) = {str(one) for one in came if isinstance(one, LimitReached)}
    assert text == (
        "Not launched: the limit of “mail”, 3 at once, is reached by the runs with its key."
        " Try again later."
    )
    assert Run.objects.count() == AT_ONCE
    launch(system, "b")


@pytest.mark.django_db
def test_a_repeated_launch_with_an_idempotency_key_is_not_refused() -> None:
    system = limited(per_minute=1, when_full="refuse")
    run = launch(system, idempotency_key="letter 7")
    assert launch(system, idempotency_key="letter 7").pk == run.pk
    with pytest.raises(LimitReached, match="1 per minute"):
        launch(system)


@pytest.mark.django_db
def test_a_launch_replaces_the_oldest_run_of_its_key(alice: User) -> None:
    system = limited(at_once=2, when_full="replace")
    running, pending = launch(system), launch(system)
    other = launch(system, "b")
    claim(system, 1)
    new = launch(system, by=None)
    assert statuses(pending, other, new) == ["pending"] * 3
    replaced = Run.objects.get(pk=running.pk)
    assert replaced.cancel_requested_at is not None
    assert replaced.cancel_reason == f"Replaced by run {new.short_id}, a later launch."
    newest = launch(system)
    assert statuses(pending, newest) == ["cancelled", "pending"]
    assert AuditEvent.objects.filter(action="cancel").count() == 2


@pytest.mark.django_db
def test_a_later_launch_replaces_a_debounced_one(moved: Clock) -> None:
    system = limited(debounce=dt.timedelta(seconds=30))
    first, other = launch(system), launch(system, "b")
    second = launch(system)
    assert statuses(first, second, other) == ["cancelled", "pending", "pending"]
    found = limited_claims.claim("w", 9, system._registry)  # noqa: SLF001
    assert found.runs == []
    assert found.limits_due_at is not None
    moved.time = second.created_at + dt.timedelta(seconds=30)
    assert {run.pk for run in claim(system)} == {second.pk, other.pk}


# Keys -------------------------------------------------------------------------------------


def raises(error: BaseException) -> Callable[[Any], Any]:
    def key(_params: Any) -> Any:
        raise error

    return key


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (raises(ValueError("no tenant")), "raised ValueError: no tenant"),
        (raises(SystemExit(3)), "raised SystemExit"),
        (raises(KeyboardInterrupt()), "raised KeyboardInterrupt"),
        (raises(StopIteration()), "raised StopIteration"),
        *(
            (lambda _, value=value: value, f"returned a {type(value).__name__}")
            for value in (None, True, "", "a\x00b", "\ud800", "x" * 201, ["a"])
        ),
    ],
    ids=itertools.count(),
)
def test_a_launch_whose_key_fails_is_refused_with_a_sentence(
    key: Any, problem: str
) -> None:
    system = limited(at_once=1, key=key)
    with pytest.raises(LimitKeyInvalid) as caught:
        launch(system)
    expected = f"Not launched: the function `key` of the limits of “mail” {problem}"
    assert str(caught.value).startswith(expected)
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_the_key_is_computed_once() -> None:
    calls: list[str] = []

    def key(params: Letter) -> str:
        calls.append(params.tenant)
        return f"tenant {params.tenant}"

    system = limited(at_once=1, key=key)
    run = launch(system)
    claim(system)
    assert Run.objects.get(pk=run.pk).limit_key == "tenant a"
    assert calls == ["a"]


# Cost -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_claim_reads_few_rows_of_a_key_that_is_full() -> None:
    """The number of statements does not depend on the number of runs that wait."""
    counts = []
    for number in (3, 40):
        system = limited(at_once=1)
        Run.objects.all().delete()
        LimitCheck.objects.all().delete()
        for _ in range(number):
            launch(system)
        claim(system)
        LimitCheck.objects.create(workflow_name=NAME, limit_key="a", due_at=0)
        with CaptureQueriesContext(connection) as queries:
            assert claim(system) == []
        counts.append(len(queries))
    assert counts[0] == counts[1]


# Workers ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_worker_starts_the_next_run_when_one_of_its_key_has_ended(
    settings: Any,
) -> None:
    settings.POLL_INTERVAL_SECONDS = 3_000  # no sweep during the test
    entered, proceed = SharedEvent(), SharedEvent()

    @node
    async def hold(state: Post) -> Post:
        entered.set()
        await proceed.wait()
        return state

    registry = Registry()
    registry.register(
        Workflow("hold", state=Post, start=hold, routes={}, limits=Limits(at_once=1))
    )
    system = System(registry)
    async with working(registry):
        first = await run_in_db(system.execute, "hold")
        second = await run_in_db(system.execute, "hold")
        await reaches(first.pk, Status.RUNNING)
        await entered.wait()
        waiting = await run_in_db(Run.objects.get, pk=second.pk)
        assert waiting.status == Status.PENDING
        proceed.set()
        for run in (first, second):
            assert (await ended(run.pk)).status == Status.COMPLETED


@pytest.mark.django_db(transaction=True)
async def test_a_worker_starts_a_debounced_run_without_a_sweep(settings: Any) -> None:
    settings.POLL_INTERVAL_SECONDS = 3_000
    system = limited(debounce=dt.timedelta(milliseconds=300))
    async with working(system._registry):  # noqa: SLF001 - the workflows of its worker
        first = await run_in_db(launch, system)
        second = await run_in_db(launch, system)
        assert (await ended(second.pk)).status == Status.COMPLETED
        assert (await ended(first.pk)).status == Status.CANCELLED
