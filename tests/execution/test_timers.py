"""Waits end when they are due; steps and tries are counted over attempts as documented."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_checkpoint, make_run
from tests.support.workers import SharedEvent, ended, until, working
from workflows.engine import (
    GraphConfig,
    Retry,
    State,
    Workflow,
    approval,
    key,
    node,
    otherwise,
    wait,
    when,
)
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    ENDED,
    Level,
    LogLine,
    Run,
    Stage,
    StageStatus,
    Status,
    WaitKind,
)
from workflows.models import Retry as RetryRow
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")

FAR_FUTURE = 3_000  # seconds: no sweep during a test


@pytest.fixture(autouse=True)
def no_sweep(settings: Any) -> None:
    """Disable the sweep of workers."""
    settings.POLL_INTERVAL_SECONDS = FAR_FUTURE


class Count(State):
    """The number of iterations of a loop."""

    n: int = 0


def naps(times: int, *, limit: int | None = None) -> Workflow[Any]:
    """Return a workflow that counts and sleeps in a loop, so often."""

    @node
    async def count(state: Count) -> Count:
        return state.set(n=state.n + 1)

    @node
    async def end(state: Count) -> Count:
        return state

    # of the time at which the node runs, so that it is still to come on a slow machine
    nap = wait(lambda _: timezone.now() + timedelta(milliseconds=30), name="nap")
    enough = key("n").at_least(times)
    return Workflow(
        "naps",
        state=Count,
        start=count,
        routes={count: [when(enough, end), otherwise(nap)], nap: count},
        config=None if limit is None else GraphConfig(max_iterations=limit),
    )


async def launched(workflow: Workflow[Any]) -> tuple[Registry, Run]:
    registry = Registry()
    registry.register(workflow)
    return registry, await run_in_db(System(registry).execute, workflow.name, {})


async def test_a_worker_wakes_its_runs_when_they_are_due_not_at_the_next_sweep() -> (
    None
):
    registry, run = await launched(naps(4))
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.result) == (Status.COMPLETED, {"n": 4})


async def test_a_worker_wakes_runs_that_another_worker_left_waiting() -> None:
    registry, run = await launched(naps(2))

    def left_waiting() -> None:
        """Make the run wait as under a worker that has ended."""
        make_checkpoint(run, sequence=0, node_name="")
        make_checkpoint(run, sequence=1, node_name="count", data='{"n":1}')
        Run.objects.filter(pk=run.pk).update(
            status=Status.WAITING,
            waiting_for=WaitKind.WAIT,
            waiting_node="nap",
            sequence=1,
            attempt=1,
            wake_at=timezone.now() + timedelta(milliseconds=300),
        )

    await run_in_db(left_waiting)
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.result) == (Status.COMPLETED, {"n": 2}), run.error_message


def test_the_next_due_time_is_that_of_the_first_run_to_wake(db: None) -> None:
    assert queue.wake_due() == (0, None)
    now = timezone.now()
    for seconds in (7_200, 3_600, -1):
        make_run(
            status=Status.WAITING,
            waiting_for=WaitKind.WAIT,
            wake_at=now + timedelta(seconds=seconds),
        )
    make_run(status=Status.WAITING, wake_at=None)
    woken, due = queue.wake_due()
    assert woken == 1
    assert due is not None
    assert 3_000 < due <= 3_600
    assert Run.objects.filter(status=Status.PENDING).count() == 1


async def test_a_waiting_loop_can_exceed_the_limit_of_steps_and_is_reported() -> None:
    """The limit applies to each attempt, and a wait ends one: the log reports each limit."""
    registry, run = await launched(naps(6, limit=4))
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED, run.error_message
    assert run.sequence == 12
    warnings = LogLine.objects.filter(run=run, level=Level.WARNING)
    messages = await run_in_db(
        lambda: [(one.sequence, one.message) for one in warnings]
    )
    assert [sequence for sequence, _ in messages] == [4, 8, 12]
    assert "4 steps in all" in messages[0][1]
    assert "at most 4 in one attempt" in messages[0][1]
    assert "8 steps in all" in messages[1][1]


async def test_a_loop_that_never_waits_is_stopped_at_the_limit() -> None:
    @node
    async def spin(state: Count) -> Count:
        return state.set(n=state.n + 1)

    @node
    async def end(state: Count) -> Count:
        return state

    never = key("n").at_least(1_000)
    registry, run = await launched(
        Workflow(
            "spin",
            state=Count,
            start=spin,
            routes={spin: [when(never, end), otherwise(spin)]},
            config=GraphConfig(max_iterations=5),
        )
    )
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_code) == (Status.FAILED, "max_iterations")
    assert run.sequence == 5


async def test_an_approval_that_expires_ends_when_it_is_due() -> None:
    class Yes(BaseModel):
        fine: bool

    class Asked(State):
        answer: Yes | None = None

    ask = approval(
        "Is it fine?",
        answer=Yes,
        into="answer",
        within=timedelta(milliseconds=50),
        on_expiry=Yes(fine=False),
        name="ask",
    )
    registry, run = await launched(Workflow("ask", state=Asked, start=ask, routes={}))
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.result) == (Status.COMPLETED, {"answer": {"fine": False}})


# Tries ----------------------------------------------------------------------------------


async def test_the_count_of_tries_survives_a_restart_and_is_reset_by_a_resume(
    alice: User,
) -> None:
    calls: list[str] = []

    @node(retry=Retry(attempts=3, on=ValueError, wait=30, factor=1))
    async def broken(state: Count, runtime: Any) -> Count:
        calls.append(runtime.key)
        raise ValueError("never")

    registry, run = await launched(
        Workflow("broken", state=Count, start=broken, routes={})
    )
    for number in (1, 2):
        tries = RetryRow.objects.filter(run=run, number=number)
        async with working(registry):
            await until(run.pk, partial(_exists, tries))
        assert len(calls) == number, "the wait before the next try goes on"
        passed = timezone.now() - timedelta(seconds=30)
        await run_in_db(tries.update, created_at=passed)
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_node, len(calls)) == ("failed", "broken", 3)
    stage = await run_in_db(Stage.objects.filter(run=run).latest, "attempt")
    assert (stage.attempt, stage.tries) == (3, 3)
    system = System(registry)
    await run_in_db(system.resume, run.pk, by=alice, reason="once more")
    first = RetryRow.objects.filter(run=run, attempt=4, number=1)
    async with working(registry):
        await until(run.pk, partial(_exists, first))
    assert len(calls) == 4


def _exists(query: Any, _run: Run) -> bool:
    found: bool = query.exists()
    return found


class Verdict(BaseModel):
    """A response, or its placeholder."""

    outcome: str


class Asked(State):
    """The response to an approval."""

    verdict: Verdict | None = None


async def test_an_approval_is_created_again_when_a_run_cancelled_during_its_pause_is_resumed(
    alice: User,
) -> None:
    """The time at which an approval would have expired is no response to it."""
    entered, proceed = SharedEvent(), SharedEvent()

    @node
    async def before(state: Asked) -> Asked:
        entered.set()
        await proceed.wait()
        return state

    ask = approval(
        "Right?",
        answer=Verdict,
        into="verdict",
        name="ask",
        within=timedelta(milliseconds=1),
        on_expiry=Verdict(outcome="late"),
    )
    workflow = Workflow("asks", state=Asked, start=before, routes={before: ask})
    registry, run = await launched(workflow)

    def cancel_without_notification() -> None:
        Run.objects.filter(pk=run.pk).request_cancel(by_id=alice.pk, reason="stop")

    async with working(registry) as worker:
        await entered.wait()
        worker.cancel = lambda *_: None  # type: ignore[method-assign]  # the message is lost
        await run_in_db(cancel_without_notification)
        proceed.set()
        assert (await ended(run.pk)).status == Status.CANCELLED
        waiting = Stage.objects.filter(run=run.pk, status=StageStatus.WAITING)
        assert not await run_in_db(waiting.exists)
        await run_in_db(
            partial(System(registry).resume, run.pk, by=alice, reason="go on")
        )
        run = await until(run.pk, lambda run: run.status in ENDED and run.attempt > 2)
    assert (run.status, run.error_message) == (Status.COMPLETED, "")
    assert run.result["verdict"] == {"outcome": "late"}
