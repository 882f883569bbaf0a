"""The question about a failed step on the run page, in the inbox, the API and the drawing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.responses import text_of
from tests.support.workers import ended, reaches, working
from workflows.engine import State, Workflow, ask, node
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.registry import registry
from workflows.system import system

pytestmark = [pytest.mark.django_db(transaction=True)]
SignIn = Callable[[User], Client]
NAMES = ("typed-transfer", "open-transfer")


class Transfer(State):
    iban: str = "wrong"
    amount: int = 5


@node(when_failed=ask(), effects="Sends money.")
def pay(state: Transfer) -> Transfer:
    if state.iban == "wrong":
        raise LookupError("no such account")
    return state


@node(name="pay", when_failed=ask())
def pay_openly(state: State) -> State:
    if "iban" not in state or "bad" in state:
        raise LookupError("no such account")
    return state


@node
def archive(state: Transfer) -> Transfer:
    return state


@pytest.fixture(autouse=True)
def workflows(transactional_db: None) -> Any:
    """Register workflows whose first step fails."""
    registry.register(
        Workflow(NAMES[0], state=Transfer, start=pay, routes={pay: archive})
    )
    registry.register(Workflow(NAMES[1], state=State, start=pay_openly, routes={}))
    yield
    for name in NAMES:
        registry.unregister(name)


async def waiting(name: str, **params: Any) -> Run:
    run = await run_in_db(lambda: system.execute(name, params))
    return await reaches(run.pk, "waiting")


def sender(page: Client, run: Run) -> Callable[..., Any]:
    async def send(**given: Any) -> Any:
        values = {"question": 2, "reason": "a digit was missing", **given}
        return await run_in_db(lambda: page.post(f"/runs/{run.pk}/respond/", values))

    return send


async def test_the_page_shows_the_failure_and_takes_an_edited_input(
    admin: User, sign_in: SignIn
) -> None:
    page = await run_in_db(sign_in, admin)
    async with working():
        run = await waiting(NAMES[0])
        response = await run_in_db(page.get, f"/runs/{run.pk}/")
        shown = text_of(response)
        for text in (
            *("LookupError", "no such account", "Effects may repeat.", "Sends money."),
            *("Retry with the same input", "Edit the input, then retry", "Skip the"),
            *("Continue at another step", "Give up: the run fails", "Archive"),
        ):
            assert text in shown, text
        assert 'name="state-iban"' in response.content.decode()
        assert "Ask about pay" in shown, "the drawing has the question"
        inbox = await run_in_db(page.get, "/approvals/")
        assert "“pay” failed. How does the run continue?" in text_of(inbox)
        send = sender(page, run)
        edited = {"state-iban": "DE02", "state-amount": "5"}
        refused = [
            ({"response-choice": "retry", **edited}, "The state was edited"),
            ({"response-choice": "route"}, "Choose the step"),
            (
                {"response-choice": "edit", "state-amount": "x"},
                "The state is not valid",
            ),
        ]
        for given, message in refused:
            response = await send(**given)
            assert response.status_code == 422
            assert message in text_of(response), given
        response = await send(**{"response-choice": "edit", **edited})
        assert response.status_code in {200, 302}
        run = await ended(run.pk)
    assert (run.status, run.result) == ("completed", {"iban": "DE02", "amount": 5})
    shown = text_of(await run_in_db(page.get, f"/runs/{run.pk}/"))
    assert "a digit was missing" in shown
    early = text_of(await run_in_db(page.get, f"/runs/{run.pk}/?at=1"))
    assert "a digit was missing" not in early


async def test_an_untyped_state_is_edited_as_json(admin: User, sign_in: SignIn) -> None:
    page = await run_in_db(sign_in, admin)
    async with working():
        run = await waiting(NAMES[1], bad=1)
        given = {"response-choice": "edit", "state-text": json.dumps({"iban": "DE02"})}
        await sender(page, run)(**given)
        run = await ended(run.pk)
    assert (run.status, run.result) == ("completed", {"iban": "DE02"})


async def test_the_api_describes_and_takes_the_response(
    admin: User, sign_in: SignIn
) -> None:
    page = await run_in_db(sign_in, admin)
    async with working():
        run = await waiting(NAMES[0])
        found = await run_in_db(page.get, f"/api/v1/runs/{run.pk}/approvals")
        (approval,) = found.json()
        assert approval["kind"] == "failure"
        properties = approval["form"]["properties"]
        assert properties["route"]["enum"] == ["", "archive"]
        assert [*properties["changes"]["properties"]] == ["iban", "amount"]

        def respond(value: Any) -> Any:
            return page.post(
                f"/api/v1/runs/{run.pk}/respond",
                {"value": value, "reason": "known"},
                content_type="application/json",
            )

        given = {"choice": "route", "route": "moon"}
        assert (await run_in_db(respond, given)).status_code == 422
        response = await run_in_db(respond, {**given, "route": "archive"})
        assert response.status_code == 200
        run = await ended(run.pk)
    assert run.status == "completed"


def test_the_workflow_page_marks_the_nodes_that_ask(
    admin: User, sign_in: SignIn
) -> None:
    shown = text_of(sign_in(admin).get(f"/workflows/{NAMES[0]}/"))
    assert "asks a person if it fails" in shown
    assert "Ask about pay" not in shown
