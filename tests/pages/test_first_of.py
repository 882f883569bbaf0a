"""What pages and the API show of a run that waits for the first of several."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from tests.execution.test_callbacks import Bank, Receipt
from tests.pages.test_events import granted, page_of
from tests.support.workers import ended, reaches, working
from workflows.engine import (
    State,
    Workflow,
    approval,
    callback,
    event,
    first_of,
    node,
    otherwise,
    sleep,
    when,
)
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Status, WorkflowPermission
from workflows.registry import registry
from workflows.system import system

pytestmark = pytest.mark.usefixtures("sealed")

NAME = "first-of-pages"


class Payment(BaseModel):
    amount: int


class Review(BaseModel):
    outcome: str


class Order(State):
    payment: Payment | None = None
    receipt: Receipt | None = None
    review: Review | None = None
    first: str = ""


@node
def ship(state: Order) -> Order:
    return state


@node
def remind(state: Order) -> Order:
    return state


@pytest.fixture(autouse=True)
def workflow(transactional_db: None, settings: Any) -> Any:
    """Install a workflow that waits for the first of four."""
    settings.POLL_INTERVAL_SECONDS = 3_000
    bank = Bank()
    paid = event("payment", Payment, "payment", key=lambda _: "key-42", name="paid")
    asked = callback(bank.ask, Receipt, "receipt", name="asked_bank")
    review = approval("Ship it unpaid?", Review, "review", name="reviewed")
    late = sleep(dt.timedelta(days=3), name="too_late")
    choice = first_of(paid, asked, review, late, into="first", name="settled")
    routes = {choice: [when(choice.was(late), remind), otherwise(ship)]}
    registry.register(Workflow(NAME, state=Order, start=choice, routes=routes))
    yield
    registry.unregister(NAME)


async def waiting() -> Run:
    run = await run_in_db(system.execute, NAME, {})
    return await reaches(run.pk, Status.WAITING)


def approver() -> User:
    person = granted("olga", can_view=True, can_operate=True, can_read=True)
    WorkflowPermission.objects.filter(workflow_name=NAME).delete()
    WorkflowPermission.objects.create(
        workflow_name=NAME,
        group=person.groups.get(),
        can_view=True,
        can_operate=True,
        can_read=True,
        can_approve=True,
    )
    return person


async def test_the_page_lists_every_wait_and_what_ends_it() -> None:
    async with working(registry):
        run = await waiting()
    olga = await run_in_db(approver)
    page = await run_in_db(page_of, run, olga)
    assert "Waiting for the first of 4." in page
    for text in (
        "The event “payment”. With the key “key-42”.",
        "signalbox send payment key-42",
        "Another system posts to the address that it was given.",
        "Anyone can respond.",
        "Too late",
        "Ship it unpaid?",
    ):
        assert text in page, text
    for kind in ("callback", "approval", "timer"):
        assert f"{kind} · open · " in " ".join(page.split()), kind
    assert page.count("Waiting</text>") >= 4  # the parts on the graph


async def test_keys_are_hidden_from_people_who_may_not_see_values() -> None:
    async with working(registry):
        run = await waiting()

    def page() -> str:
        approver()  # else everyone may read the values
        ben = granted("ben", can_view=True, can_operate=True)
        WorkflowPermission.objects.create(
            workflow_name=NAME, group=ben.groups.get(), can_view=True, can_operate=True
        )
        return page_of(run, ben)

    shown = await run_in_db(page)
    assert "Waiting for the first of 4." in shown
    assert "key-42" not in shown


async def test_pages_and_api_show_what_came_first_and_what_was_withdrawn() -> None:
    olga = await run_in_db(approver)
    send = partial(system.send, "payment", "key-42", {"amount": 7}, by=olga)
    async with working(registry):
        run = await waiting()
        await run_in_db(send)
        run = await ended(run.pk)

    def read() -> tuple[str, str, Any, Any, int]:
        client = Client()
        client.force_login(olga)
        inbox = client.get("/approvals/").content.decode()
        api = f"/api/v1/runs/{run.pk}"
        waits = client.get(f"{api}/waits").json()
        requests = client.get(f"{api}/approvals").json()
        late = client.post(
            f"{api}/respond",
            {"value": {"outcome": "yes"}, "reason": "because"},
            content_type="application/json",
        )
        assert "“paid” came first" in late.json()["detail"]
        return page_of(run, olga), inbox, waits, requests, late.status_code

    page, inbox, waits, requests, refused = await run_in_db(read)
    assert "“paid” came first, from olga" in page
    assert "Came first" in page
    assert page.index("“paid” came first, from olga") < page.index("<b>Ship</b>")
    assert "Withdrawn" in page
    assert "“paid” came first" in inbox
    assert "Ship it unpaid?" in inbox
    assert [(one["node"], one["kind"], one["status"]) for one in waits] == [
        ("paid", "event", "received"),
        ("asked_bank", "callback", "withdrawn"),
        ("reviewed", "approval", "withdrawn"),
        ("too_late", "timer", "withdrawn"),
    ]
    assert [one["withdrawn_reason"] for one in requests] == ["“paid” came first"]
    assert refused == 409


async def test_the_panel_of_a_part_and_an_earlier_step_are_shown() -> None:
    olga = await run_in_db(approver)
    send = partial(system.send, "payment", "key-42", {"amount": 7}, by=olga)
    async with working(registry):
        run = await waiting()
        await run_in_db(send)
        run = await ended(run.pk)

    def read(query: str) -> Any:
        client = Client()
        client.force_login(olga)
        return client.get(f"/runs/{run.pk}/{query}")

    for query in ("?node=paid", "?edge=paid.1000", "?at=1", "?at=0", "?node=settled"):
        response = await run_in_db(read, query)
        assert response.status_code == 200, query
