"""Sync nodes that ignore that they have to stop: shown, logged and counted by their worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.workers import TIMEOUT_SECONDS, ended, reaches, until, working
from workflows.engine import State, Workflow, node, threads
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Status, Worker
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick_settings(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HEARTBEAT_SECONDS = settings.POLL_INTERVAL_SECONDS = 0.05
    monkeypatch.setattr(threads, "OVERDUE_SECONDS", 0.0)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Provide an event for which the threads of the test wait; it is set at the end."""
    event = threading.Event()
    yield event
    event.set()


def stubborn(released: threading.Event, timeout: float | None) -> Registry:
    """Return a workflow whose node works in a thread until the event is set."""

    @node(timeout=timeout)
    def load(state: State) -> State:
        released.wait(TIMEOUT_SECONDS)
        return state

    @node
    async def quick(state: State) -> State:
        return state

    registry = Registry()
    routes = {load: quick}
    registry.register(Workflow("stubborn", state=State, start=load, routes=routes))
    registry.register(Workflow("quick", state=State, start=quick, routes={}))
    return registry


def holds(worker: str) -> list[tuple[str, str, str]]:
    rows = Worker.objects.get(name=worker).holds
    return [(hold["kind"], hold["run"], hold["node"]) for hold in rows]


async def test_a_thread_that_ignores_its_timeout_takes_the_slot_of_its_run(
    released: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    registry = stubborn(released, timeout=0.05)
    system = System(registry)
    run = await run_in_db(system.execute, "stubborn", {})
    async with working(registry, capacity=1, name="only") as worker:
        failed = await ended(run.pk)
        assert failed.status == Status.FAILED
        await until(
            run.pk, lambda _: holds("only") == [("thread", str(run.pk), "load")]
        )
        following = await run_in_db(system.execute, "quick", {})
        worker.wake()
        await until(following.pk, lambda _: "claims no more runs" in caplog.text)
        assert (await run_in_db(Run.objects.get, pk=following.pk)).status == "pending"
        released.set()
        assert (await ended(following.pk)).status == Status.COMPLETED
        await until(run.pk, lambda _: holds("only") == [])
    assert f"node load of run {run.pk} ignores its timeout" in caplog.text


async def test_a_thread_that_ignores_the_cancellation_of_its_run_is_reported(
    released: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    registry = stubborn(released, timeout=None)
    system = System(registry)
    run = await run_in_db(system.execute, "stubborn", {})
    async with working(registry, name="only"):
        await reaches(run.pk, Status.RUNNING)
        await until(run.pk, lambda _: threads.pool.counts.running == 1)
        await run_in_db(system.cancel, run.pk, by=None, reason="enough")
        await until(
            run.pk, lambda _: holds("only") == [("thread", str(run.pk), "load")]
        )
        released.set()
        assert (await ended(run.pk)).status == Status.CANCELLED
    assert "ignores its timeout or cancellation" in caplog.text
