"""A step that waits for a thread reports it, and its time starts when it has one."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.workers import TIMEOUT_SECONDS, ended, until, working
from workflows.audit.verifier import Checker
from workflows.engine import Retry, State, Workflow, node, threads
from workflows.execution.thread_waits import ThreadWaits
from workflows.infra.database_threads import run_in_db
from workflows.models import LogLine, Run, Stage, current_stage
from workflows.pages.access import RunPermissions
from workflows.pages.run.page import RunPage
from workflows.pages.run.timeline import Bar
from workflows.pages.run.view_options import RunView
from workflows.registry import Registry
from workflows.system import System

release = threading.Event()


@node
def hold(state: State) -> State:
    assert release.wait(TIMEOUT_SECONDS)
    return state


@node
def quick(state: State) -> State:
    return state


tries: list[int] = []


@node(timeout=0.25, retry=Retry(attempts=2, wait=0))
def late(state: State) -> State:
    tries.append(1)
    if len(tries) == 1:
        assert release.wait(TIMEOUT_SECONDS)
    return state


registry = Registry()
for one in (hold, quick, late):
    registry.register(Workflow(one.name, state=State, start=one, routes={}))
system = System(registry)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "pool", threads.ThreadPool(slots=1))
    release.clear()
    tries.clear()
    yield
    release.set()


def bars_of(run: Run, node: str) -> list[Bar]:
    timeline = RunPage(run, RunPermissions(), view=RunView()).timeline
    return next(lane.bars for lane in timeline.lanes if lane.name == node)


def waits(run: Run) -> bool:
    stage = current_stage(run)
    return stage is not None and stage.waits_for_thread


@pytest.mark.django_db(transaction=True)
async def test_the_page_shows_that_a_step_waits_and_its_duration_excludes_the_wait(
    admin: User,
) -> None:
    def step_of(run: Run) -> str:
        page = Client()
        page.force_login(admin)
        return page.get(reverse("run", args=[run.pk])).content.decode()

    async with working(registry):
        first = await run_in_db(system.execute, "hold")
        await until(first.pk, current_stage)
        second = await run_in_db(system.execute, "quick")
        run = await until(second.pk, waits)
        began = time.monotonic()
        html = await run_in_db(step_of, run)
        assert "Waiting for a thread" in html
        assert 'data-kind="work"' not in html
        assert "Waiting for a thread" not in await run_in_db(step_of, first)
        waited = time.monotonic() - began
        released = timezone.now()
        release.set()
        run = await ended(second.pk)
        assert (await ended(first.pk)).status == run.status == "completed"
    stage = await run_in_db(run.stages.get)
    assert not stage.waits_for_thread
    assert stage.duration_ms is not None
    assert stage.duration_ms < waited * 1_000
    assert stage.created_at > released - dt.timedelta(milliseconds=50)
    (bar,) = await run_in_db(bars_of, run, "quick")
    assert bar.start >= (released - run.created_at).total_seconds() * 1_000 - 50
    assert await run_in_db(lambda: Checker().run(run.pk)) == []


@pytest.mark.django_db(transaction=True)
async def test_a_try_that_waits_for_the_previous_thread_reports_it_and_can_be_cancelled(
    admin: User,
) -> None:
    async with working(registry):
        run = await run_in_db(system.execute, "late")
        await until(run.pk, waits)
        await run_in_db(system.cancel, run.pk, by=admin, reason="it hangs")
        run = await ended(run.pk)
    assert (run.status, len(tries)) == ("cancelled", 1)
    assert await run_in_db(Stage.objects.filter(waits_for_thread=True).count) == 0
    lines = await run_in_db(list, LogLine.objects.values_list("message", flat=True))
    assert "late waits until the thread of an earlier try has ended" in str(lines)


def test_a_parallel_step_waits_when_none_of_its_items_has_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(
        "workflows.execution.thread_waits.time.monotonic", lambda: now[0]
    )
    step = ThreadWaits()
    for item in (1, 2):
        step.start_item(item)
        step.wait(item)
    assert step.is_waiting
    now[0] = 3.0
    step.end_wait(1)
    assert (step.is_waiting, step.seconds) == (False, 3.0)
    now[0] = 5.0
    step.end_item(1)
    assert (step.is_waiting, step.seconds) == (True, 3.0)
    now[0] = 6.0
    step.end_wait(2)
    assert (step.is_waiting, step.seconds) == (False, 4.0)
