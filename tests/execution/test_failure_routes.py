"""Failure routes of stored runs: rows, pauses, recovery and pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from tests.support.workers import ended, reaches, working
from workflows.engine import (
    Retry,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    when_failed,
)
from workflows.execution.checkpoints import rebuild
from workflows.infra.database_threads import run_in_db
from workflows.models import Decision, Run, Stage
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class PaymentRefused(Exception):
    """The bank refused the payment."""


class Advice(BaseModel):
    text: str = ""


class Order(State):
    token: str = ""
    advice: Advice | None = None
    told: str = ""


@node(retry=Retry(attempts=2, wait=0))
def pay(state: Order) -> Order:
    raise PaymentRefused("no cover for hunter2hunter2")


@node
def close(state: Order) -> Order:
    failure = state.failure
    assert failure is None, "the approval in between has succeeded"
    return state.set(told="closed")


@node
def note(state: Order) -> Order:
    assert state.failure is not None
    assert state.failure.is_any((PaymentRefused,))
    return state.set(told=f"{state.failure.tries} tries")


ask = approval("Refused: {s.failure.message}", answer=Advice, into="advice", name="ask")
order = Workflow(
    "order",
    state=Order,
    start=pay,
    routes={pay: [when_failed(ask, on=PaymentRefused), otherwise(close)], ask: close},
)


def rows(run: Run) -> tuple[list[Any], list[Any]]:
    stages = Stage.objects.filter(run=run).order_by("sequence", "attempt")
    decisions = Decision.objects.filter(run=run).order_by("sequence")
    return (
        [*stages.values_list("sequence", "node_name", "status", "tries")],
        [*decisions.values_list("sequence", "to_node", "predicate_name", "taken")],
    )


async def test_a_failed_step_leads_to_an_approval_and_never_runs_again(
    admin: User,
) -> None:
    registry = Registry()
    registry.register(order)
    system = System(registry)
    run = await run_in_db(lambda: system.execute("order", token="hunter2hunter2"))
    async with working(registry):
        run = await reaches(run.pk, "waiting")
        snapshot = await run_in_db(rebuild, run.pk)
        await run_in_db(
            lambda: system.respond(run.pk, {"text": "no"}, by=admin, comment="seen")
        )
        run = await ended(run.pk)
    assert (run.status, run.sequence, run.error_message) == ("completed", 3, "")
    assert snapshot is not None
    assert snapshot.failure is not None
    assert snapshot.failure["message"] == "no cover for •••", "the secret is masked"
    stages, decisions = await run_in_db(rows, run)
    assert stages == [
        (1, "pay", "failed", 2),
        (2, "ask", "completed", 1),
        (3, "close", "completed", 1),
    ]
    assert decisions == [
        (1, "ask", "failed with PaymentRefused", True),
        (2, "close", "", True),
    ]


async def test_a_resumed_run_continues_on_the_failure_route() -> None:
    left = [LookupError("the address book is closed")]

    @node(name="note")
    def note_later(state: Order) -> Order:
        if left:
            raise left.pop()
        return note(state)

    registry = Registry()
    registry.register(
        Workflow(
            "noted", state=Order, start=pay, routes={pay: [when_failed(note_later)]}
        )
    )
    system = System(registry)
    run = await run_in_db(lambda: system.execute("noted"))
    async with working(registry):
        run = await ended(run.pk)
        assert (run.status, run.error_node, run.sequence) == ("failed", "note", 1)
        await run_in_db(lambda: system.resume(run.pk, by=None))
        run = await ended(run.pk)
    stages, decisions = await run_in_db(rows, run)
    assert (run.status, run.result and run.result["told"]) == ("completed", "2 tries")
    assert [stage[:3] for stage in stages] == [
        (1, "pay", "failed"),
        (2, "note", "failed"),
        (2, "note", "completed"),
    ]
    assert decisions == [(1, "note", "failed", True)] * 2


async def test_pages_show_the_failure_route(admin: User, client: Client) -> None:
    registry = Registry()
    registry.register(order)
    run = await run_in_db(lambda: System(registry).execute("order"))
    async with working(registry):
        run = await reaches(run.pk, "waiting")
    await run_in_db(lambda: client.force_login(admin))
    page = (await run_in_db(lambda: client.get(f"/runs/{run.pk}/"))).content.decode()
    assert "Failed, failure route taken" in page
    assert "data-failure" in page
    assert "on failure" in page
    await run_in_db(lambda: System(registry).cancel(run.pk, by=admin, reason="enough"))
    page = (await run_in_db(lambda: client.get(f"/runs/{run.pk}/"))).content.decode()
    assert "Failed, failure route taken" in page, "the step was not cancelled"
