"""A run that failed because nothing came in time waits again when it is resumed."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from tests.support.orders import findings
from tests.support.workers import ended, reaches, working
from workflows.engine import State, Workflow, approval, event, node
from workflows.execution import queue
from workflows.infra import clock
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalEscalation,
    ApprovalStatus,
    EventWait,
    Run,
)
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class Verdict(BaseModel):
    """The response."""

    outcome: Literal["pay", "refuse"]


@node
def close(state: State) -> State:
    return state


async def test_a_resume_after_an_expiry_requests_the_approval_again(
    alice: User,
) -> None:
    registry = Registry()
    ask = approval(
        "Pay?", Verdict, into="verdict", within=timedelta(days=1), name="ask"
    )
    registry.register(Workflow("paying", state=State, start=ask, routes={ask: close}))
    system = System(registry)
    past = await run_in_db(clock.now) - timedelta(seconds=1)
    async with working(registry):
        run = await run_in_db(system.execute, "paying")
        run = await reaches(run.pk, "waiting")
        await run_in_db(Approval.objects.update, expires_at=past)
        await run_in_db(Run.objects.update, wake_at=past)
        await run_in_db(queue.sweep)
        run = await ended(run.pk)
        assert (run.status, run.error_node) == ("failed", "ask")
        await run_in_db(lambda: system.resume(run.pk, by=None))
        run = await reaches(run.pk, "waiting")
        open_one = await run_in_db(Approval.objects.get, status=ApprovalStatus.OPEN)
        assert open_one.expires_at is not None
        assert open_one.expires_at > past + timedelta(hours=23)
        await run_in_db(
            lambda: system.respond(run.pk, {"outcome": "pay"}, by=alice, comment="Yes.")
        )
        run = await ended(run.pk)
    assert run.status == "completed"
    assert run.result["verdict"] == {"outcome": "pay"}
    assert await findings() == []


async def test_a_resume_after_an_escalation_requests_the_approval_of_its_first_group() -> (
    None
):
    node = approval(
        *("Pay?", Verdict, "verdict"),
        groups=["finance"],
        within=timedelta(days=1),
        escalate_after=timedelta(hours=1),
        escalate_to="leads",
        name="ask",
    )
    registry = Registry()
    registry.register(Workflow("paying", state=State, start=node, routes={}))
    system = System(registry)
    past = await run_in_db(clock.now) - timedelta(seconds=1)
    async with working(registry):
        run = await run_in_db(system.execute, "paying")
        run = await reaches(run.pk, "waiting")
        await run_in_db(ApprovalEscalation.objects.update, due_at=past)
        await run_in_db(queue.sweep)
        asked = await run_in_db(Approval.objects.get)
        assert (asked.status, asked.groups) == ("open", ["finance", "leads"])
        await run_in_db(Approval.objects.update, expires_at=past)
        await run_in_db(Run.objects.update, wake_at=past)
        await run_in_db(queue.sweep)
        await ended(run.pk)
        await run_in_db(lambda: system.resume(run.pk, by=None))
        await reaches(run.pk, "waiting")
        asked = await run_in_db(Approval.objects.get, status=ApprovalStatus.OPEN)
        assert asked.groups == ["finance"]
        row = await run_in_db(ApprovalEscalation.objects.get, approval=asked)
        assert row.escalated_at is None
        assert row.due_at > past + timedelta(minutes=30)
    assert await findings() == []


async def test_a_resume_after_an_expired_event_waits_for_it_again(alice: User) -> None:
    registry = Registry()
    paid = event("paid", Verdict, into="verdict", within=timedelta(days=1), name="paid")
    registry.register(Workflow("paying", state=State, start=paid, routes={paid: close}))
    system = System(registry)
    past = await run_in_db(clock.now) - timedelta(seconds=1)
    async with working(registry):
        run = await run_in_db(system.execute, "paying")
        run = await reaches(run.pk, "waiting")
        await run_in_db(EventWait.objects.update, expires_at=past)
        await run_in_db(Run.objects.update, wake_at=past)
        await run_in_db(queue.sweep)
        run = await ended(run.pk)
        assert (run.status, run.error_node) == ("failed", "paid")
        await run_in_db(lambda: system.resume(run.pk, by=None))
        run = await reaches(run.pk, "waiting")
        value = {"outcome": "pay"}
        await run_in_db(lambda: system.send("paid", "", value, by=alice))
        run = await ended(run.pk)
    assert run.status == "completed"
    assert run.result["verdict"] == value
    assert await findings() == []
