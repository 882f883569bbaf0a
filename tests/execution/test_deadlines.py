"""Deadlines of stored runs: kept over waits, routed, and set per launch."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from pydantic import BaseModel

from tests.support.workers import ended, reaches, working
from workflows.engine import (
    DeadlinePassed,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    sleep,
    subworkflow,
    when_failed,
)
from workflows.errors import DeadlineOver, InvalidDeadline
from workflows.infra.database_threads import run_in_db
from workflows.models import Approval, Run, Stage
from workflows.pages.forms.launch_form import MoreOptionsForm
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")

HOUR = dt.timedelta(hours=1)


class Reply(BaseModel):
    text: str = ""


class Plain(State):
    reply: Reply | None = None
    child: dict[str, Any] | None = None
    late: bool = False


@node
def finish(state: Plain) -> Plain:
    return state


@node
def note_late(state: Plain) -> Plain:
    assert state.failure is not None
    return state.set(late=state.failure.is_deadline)


def approving(*more: Any, name: str = "asking", **options: Any) -> Workflow[Any]:
    ask = approval("?", answer=Reply, into="reply", name="ask")
    return Workflow(
        name,
        state=Plain,
        start=ask,
        routes={ask: [*more, otherwise(finish)]},
        deadline=HOUR,
        **options,
    )


def system_of(*workflows: Workflow[Any]) -> tuple[System, Registry]:
    registry = Registry()
    for workflow in workflows:
        registry.register(workflow)
    return System(registry), registry


def pass_deadline(run: Run) -> None:
    past = timezone.now() - dt.timedelta(seconds=1)
    Run.objects.filter(pk=run.pk).update(deadline_at=past, created_at=past - HOUR)


async def test_a_run_that_waits_fails_at_its_deadline_and_is_not_resumed() -> None:
    system, registry = system_of(approving())
    run = await run_in_db(lambda: system.execute("asking"))
    assert run.deadline == HOUR
    async with working(registry):
        run = await reaches(run.pk, "waiting")
        assert run.deadline == HOUR
        await run_in_db(pass_deadline, run)
        run = await ended(run.pk)
    assert (run.status, run.error_code, run.error_node) == ("failed", "deadline", "ask")
    open_approvals = Approval.objects.filter(run=run, status="open")
    assert not await run_in_db(open_approvals.exists)
    (stage,) = await run_in_db(lambda: [*Stage.objects.filter(run=run)])
    assert stage.status == "interrupted"
    with pytest.raises(DeadlineOver, match="has passed"):
        await run_in_db(lambda: system.resume(run.pk, by=None))
    assert not run.is_resumable
    again = await run_in_db(lambda: system.rerun(run.pk, by=None))
    assert again.deadline == HOUR


async def test_a_failure_route_takes_the_deadline_of_a_wait_which_is_over_then() -> (
    None
):
    pause = sleep(dt.timedelta(milliseconds=1), name="pause")
    ask = approval("?", answer=Reply, into="reply", name="ask")
    workflow = Workflow(
        "routed",
        state=Plain,
        start=ask,
        routes={
            ask: [when_failed(note_late, on=DeadlinePassed), otherwise(finish)],
            note_late: pause,
        },
        deadline=HOUR,
    )
    system, registry = system_of(workflow)
    run = await run_in_db(lambda: system.execute("routed"))
    async with working(registry):
        await reaches(run.pk, "waiting")
        await run_in_db(pass_deadline, run)
        run = await ended(run.pk)
    assert (run.status, run.deadline_at) == ("completed", None)
    assert run.result is not None
    assert run.result["late"] is True
    stages = await run_in_db(
        lambda: [*Stage.objects.filter(run=run).values_list("node_name", "status")]
    )
    assert stages == [
        ("ask", "failed"),
        ("note_late", "completed"),
        ("pause", "completed"),
    ]


async def test_a_child_is_cancelled_at_the_deadline_of_its_parent() -> None:
    call = subworkflow("child", lambda _: {}, into="child", name="call")
    parent = Workflow(
        "parent", state=Plain, start=call, routes={call: finish}, deadline=HOUR
    )
    system, registry = system_of(parent, approving(name="child"))
    run = await run_in_db(lambda: system.execute("parent"))
    async with working(registry):
        await reaches(run.pk, "waiting")
        child = await run_in_db(Run.objects.get, parent=run)
        await reaches(child.pk, "waiting")
        await run_in_db(pass_deadline, run)
        run, child = await ended(run.pk), await ended(child.pk)
    assert (run.status, run.error_code) == ("failed", "deadline")
    assert (child.status, child.cancel_reason) == (
        "cancelled",
        "The deadline of the parent run has passed.",
    )


async def test_a_node_is_interrupted_at_the_deadline_of_the_launch() -> None:
    @node
    async def hang(state: Plain) -> Plain:
        await asyncio.Event().wait()
        return state

    workflow = Workflow("hang", state=Plain, start=hang, routes={})
    system, registry = system_of(workflow)
    short = dt.timedelta(seconds=0.3)
    run = await run_in_db(lambda: system.execute("hang", deadline=short))
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_code, run.error_node) == (
        "failed",
        "deadline",
        "hang",
    )
    assert "deadline" in run.error_message


def test_deadlines_are_checked_at_the_launch() -> None:
    system, _ = system_of(approving())
    for wrong in (dt.timedelta(0), dt.timedelta(days=40_000)):
        with pytest.raises(InvalidDeadline, match="above 0 and at most"):
            system.execute("asking", deadline=wrong)
    assert not Run.objects.exists()
    form = MoreOptionsForm(data={"launch-deadline": "90"})
    assert form.is_valid()
    assert form.launch_options()["deadline"] == dt.timedelta(minutes=90)
    assert not MoreOptionsForm(data={"launch-deadline": "0"}).is_valid()
