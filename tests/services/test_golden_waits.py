"""Golden runs with votes, first waits of several, and questions about failed steps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from tests.support.factories import make_user
from tests.support.workers import ended, reaches, until, working
from workflows.engine import (
    State,
    Vote,
    Workflow,
    approval,
    ask,
    event,
    first_of,
    node,
    otherwise,
    predicate,
    wait,
    when,
)
from workflows.infra.database_threads import run_in_db
from workflows.models import Approval, ApprovalStatus, GoldenOutcome, Run
from workflows.registry import registry
from workflows.services.golden_fields import GoldenField
from workflows.services.golden_rerun import Comparison, Mode, compare
from workflows.services.golden_runs import Expectation
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "golden-waits"
MAX_ROUNDS = 2
FAR = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


class Verdict(BaseModel):
    outcome: Literal["ship", "drop"]


class Payment(BaseModel):
    amount: int


class Order(State):
    ends_at_once: bool = False
    votes: tuple[Vote[Verdict], ...] = ()
    payment: Payment | None = None
    review: Verdict | None = None
    first: str = ""
    rounds: int = 0
    iban: str = "right"


def end_of(state: Order) -> dt.datetime:
    """Return when the wait for the other parts ends."""
    return dt.datetime(2026, 1, 1, tzinfo=dt.UTC) if state.ends_at_once else FAR


vote = approval(
    "Ship it?", Verdict, "votes", votes=2, veto={"outcome": "drop"}, name="vote"
)
paid = event("payment", Payment, "payment", name="paid")
review = approval("Wait longer?", Verdict, "review", name="review")
late = wait(end_of, name="late")
choice = first_of(paid, review, late, into="first", name="choice")


@predicate("{s.votes}")
def all_ship(state: Order) -> bool:
    return all(one.value.outcome == "ship" for one in state.votes)


@predicate("round {s.rounds}")
def has_rounds_left(state: Order) -> bool:
    return state.rounds < MAX_ROUNDS


@node
def note(state: Order) -> Order:
    return state.set(rounds=state.rounds + 1)


@node(when_failed=ask())
def ship(state: Order) -> Order:
    if state.iban == "wrong":
        raise LookupError("no such account")
    return state


@node
def drop(state: Order) -> Order:
    return state


def waits(rounds: Any = has_rounds_left) -> Workflow[Order]:
    return Workflow(
        NAME,
        state=Order,
        start=vote,
        routes={
            vote: [when(all_ship, choice), otherwise(drop)],
            choice: [
                when(choice.was(paid), ship),
                when(choice.was(late), drop),
                otherwise(note),
            ],
            note: [when(rounds, choice), otherwise(drop)],
        },
    )


@pytest.fixture(autouse=True)
def workflow() -> Iterator[None]:
    """Register the workflow for one test."""
    registry.register(waits())
    yield
    registry.unregister(NAME)


@pytest.fixture
def people() -> list[User]:
    return [make_user(name, is_superuser=True) for name in ("ada", "bea")]


async def waits_at(run: Run, sequence: int) -> None:
    """Return when the run waits for what this step requested."""
    await until(
        run.pk, lambda one: one.status == "waiting" and one.sequence == sequence - 1
    )


async def launched(people: list[User], *outcomes: str, **params: Any) -> Run:
    """Return a run to whose first approval people gave these responses."""
    run = await run_in_db(lambda: system.execute(NAME, params))
    await reaches(run.pk, "waiting")
    for person, outcome in zip(people, outcomes, strict=False):
        await respond(run, person, outcome=outcome)
    return run


async def respond(run: Run, person: User, **value: Any) -> None:
    await run_in_db(
        lambda: system.respond(run.pk, value, by=person, comment="Looks so.")
    )


async def compared(run: Run, *fields: str) -> Comparison:
    run = await ended(run.pk)

    def rerun() -> Comparison:
        wanted = Expectation(fields=[GoldenField(name) for name in fields])
        return compare(system.mark_golden(run.pk, wanted, by=None), Mode())

    return await run_in_db(rerun)


def assert_same(found: Comparison) -> None:
    problems = [one.text for one in found.differences]
    assert (problems, found.message) == ([], "")
    assert found.outcome == GoldenOutcome.SAME


async def test_votes_are_repeated_with_who_gave_them_and_a_veto_ends_them(
    people: list[User],
) -> None:
    async with working():
        run = await launched(people, "ship", "ship", ends_at_once=True)
        assert_same(await compared(run, "votes", "first"))
        vetoed = await launched(people, "drop", ends_at_once=True)
        assert_same(await compared(vetoed, "votes.0.by", "votes.0.value.outcome"))


async def test_what_came_first_comes_first_again_at_each_visit(
    people: list[User],
) -> None:
    async with working():
        run = await launched(people, "ship", "ship")
        await waits_at(run, 2)
        await respond(run, people[0], outcome="ship")
        await waits_at(run, 4)
        await run_in_db(
            lambda: system.send("payment", value={"amount": 7}, by=None, workflow=NAME)
        )
        assert_same(await compared(run, "payment.amount", "review", "first", "rounds"))
        timed = await launched(people, "ship", "ship", ends_at_once=True)
        found = await compared(timed, "first")
        assert_same(found)
        assert found.golden.run.result["first"] == "late"


async def test_a_changed_route_after_what_came_first_is_a_difference(
    people: list[User],
) -> None:
    async with working():
        run = await launched(people, "ship", "ship")
        await waits_at(run, 2)
        await respond(run, people[0], outcome="ship")
        await waits_at(run, 4)
        await respond(run, people[0], outcome="drop")
        await ended(run.pk)
    registry.unregister(NAME)
    registry.register(waits(has_rounds_left & all_ship & ~has_rounds_left))
    found = await compared(run, "rounds")
    assert found.outcome == GoldenOutcome.DIFFERENT
    assert any("choice" in one.text for one in found.differences), found.differences


async def test_the_response_about_a_failed_step_is_repeated(people: list[User]) -> None:
    async with working():
        run = await launched(people, "ship", "ship", iban="wrong")
        await waits_at(run, 2)
        await run_in_db(
            lambda: system.send("payment", value={"amount": 7}, by=None, workflow=NAME)
        )
        await until(run.pk, is_asked)
        await respond(run, people[0], choice="retry", changes={"iban": "DE02"})
        found = await compared(run, "iban", "payment.amount")
    assert_same(found)
    assert found.golden.run.result["iban"] == "DE02"


def is_asked(run: Run) -> bool:
    about_ship = Approval.objects.filter(run=run, node_name="ask about ship")
    return about_ship.filter(status=ApprovalStatus.OPEN).exists()
