"""Very many runs: ten thousand pending, two thousand executed at once."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.utils import timezone

from tests.support.factories import make_run
from tests.support.workers import SharedEvent, until, working
from workflows.engine import Graph, State
from workflows.execution import worker as worker_module
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.models import Attempt, Checkpoint, Run, Stage
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)


def meeting(everybody: SharedEvent, here: set[str], count: int) -> Registry:
    """Return a workflow whose node continues when so many runs are inside it at once."""

    async def wait(state: State) -> State:
        here.add(state.run_id)
        if len(here) == count:
            everybody.set()
        await everybody.wait()
        return state.set(present=len(here))

    def build(graph: Graph, _runtime: object, _params: object) -> State:
        graph.add_node("wait", wait)
        graph.set_entry_point("wait")
        graph.set_exit_point("wait")
        return State()

    registry = Registry()
    registry.register_factory("meeting", build)
    return registry


def launch(registry: Registry, count: int) -> None:
    system = System(registry)
    for _ in range(count):
        system.execute("meeting", {})


def all_completed() -> bool:
    return not Run.objects.exclude(status="completed").exists()


async def until_all_completed() -> None:
    """Return when every run has completed; check at each notification to the lists."""
    async with notifications.subscribe(notifications.PAGES) as ear:
        while not await run_in_db(all_completed):
            await ear.next()


@pytest.mark.parametrize(
    "count",
    [100, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
async def test_many_runs_wait_in_their_nodes_at_once(count: int) -> None:
    everybody, here = SharedEvent(), set[str]()
    registry = meeting(everybody, here, count)
    await run_in_db(launch, registry, count)
    async with working(registry, capacity=count):
        await until_all_completed()
    assert len(here) == count
    assert await run_in_db(_steps) == {"stages": count, "states": 2 * count}


def _steps() -> dict[str, int]:
    completed = Stage.objects.filter(status="completed")
    return {"stages": completed.count(), "states": Checkpoint.objects.count()}


@pytest.mark.parametrize(
    "count",
    [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
)
async def test_many_pending_runs_are_each_executed_once(count: int) -> None:
    registry = meeting(SharedEvent(), set(), 1)  # no node waits for another
    await run_in_db(launch, registry, count)
    async with working(registry, capacity=50):
        await until_all_completed()
    assert await run_in_db(Attempt.objects.count) == count
    assert await run_in_db(_steps) == {"stages": count, "states": 2 * count}


async def test_a_run_that_no_message_announced_is_found_by_the_sweep(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POLL_INTERVAL_SECONDS = 0.05
    registry = meeting(SharedEvent(), set(), 1)
    monkeypatch.setattr(notifications, "pending_on_commit", lambda: None)
    async with working(registry) as worker:
        await worker._registered.wait()  # noqa: SLF001 - after its first poll of the empty queue
        run = await run_in_db(System(registry).execute, "meeting", {})
        await until(run.pk, lambda found: found.status == "completed")


async def test_a_worker_subscribes_again_after_the_channel_layer_lost_its_groups(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POLL_INTERVAL_SECONDS = 3000  # only a message can wake the worker
    monkeypatch.setattr(worker_module, "REJOIN_SECONDS", 0.01)
    joined = asyncio.Event()
    join = notifications.join

    async def join_and_report(to: str, channel: str) -> None:
        await join(to, channel)
        joined.set()

    monkeypatch.setattr(notifications, "join", join_and_report)
    registry = meeting(SharedEvent(), set(), 1)
    async with working(registry):
        await joined.wait()
        layer = get_channel_layer()
        assert isinstance(layer, InMemoryChannelLayer)
        layer.groups.clear()
        joined.clear()
        await joined.wait()
        run = await run_in_db(System(registry).execute, "meeting", {})
        await until(run.pk, lambda found: found.status == "completed")


async def test_a_worker_whose_clock_jumped_ahead_recovers_no_active_run(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POLL_INTERVAL_SECONDS = settings.HEARTBEAT_SECONDS = 0.05
    everybody, here = SharedEvent(), set[str]()
    registry = meeting(everybody, here, 2)
    run = await run_in_db(System(registry).execute, "meeting", {})
    right = timezone.now
    async with working(registry):
        await until(run.pk, lambda found: found.status == "running")
        monkeypatch.setattr(timezone, "now", lambda: right() + dt.timedelta(days=1))
        # another run is woken by a sweep, which shows that a sweep ran after the jump
        due = await run_in_db(
            make_run,
            status="waiting",
            waiting_for="wait",
            wake_at=right(),
            workflow_name="meeting",
        )
        await until(due.pk, lambda found: found.status != "waiting")
        everybody.set()
        await until(run.pk, lambda found: found.status == "completed")
    found = await run_in_db(Run.objects.get, pk=run.pk)
    assert (found.attempt, found.recoveries) == (1, 0)
