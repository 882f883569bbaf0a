"""The deferred choice in memory: what comes first, its decisions, mistakes of authors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from workflows.engine import (
    Answer,
    DefinitionError,
    State,
    Vote,
    Workflow,
    approval,
    callback,
    event,
    first_of,
    node,
    otherwise,
    sleep,
    wait,
    when,
    when_failed,
)
from workflows.engine.errors import Paused
from workflows.engine.first_of import FirstOf
from workflows.engine.testing import ManualClock, run_in_memory

START = datetime(2026, 1, 1, tzinfo=UTC)


class Payment(BaseModel):
    amount: int


class Review(BaseModel):
    outcome: str


class Order(State):
    payment: Payment | None = None
    review: Review | None = None
    votes: tuple[Vote[Review], ...] = ()
    first: str = ""
    few: Literal["paid", "late"] | None = None
    number: int = 0


@node
def ship(state: Order) -> Order:
    return state


@node
def judge(state: Order) -> Order:
    return state


@node
def remind(state: Order) -> Order:
    return state


def paid(**options: Any) -> Any:
    return event("payment", Payment, "payment", name="paid", **options)


def review(**options: Any) -> Any:
    given = {"answer": Review, "into": "review", "name": "review", **options}
    return approval("Ship?", **given)


def late(days: int = 3) -> Any:
    return sleep(timedelta(days=days), name="late")


def order(choice: FirstOf, **options: Any) -> Workflow[Order]:
    first = [when(choice.was(choice.parts[0]), ship)]
    second = [when(choice.was(choice.parts[1]), judge)]
    routes = {choice: [*first, *second, when_failed(remind), otherwise(remind)]}
    return Workflow("order", state=Order, start=choice, routes=routes, **options)


def choice(*parts: Any, into: str = "first") -> FirstOf:
    return first_of(*parts, into=into, name="choice")


def test_the_route_of_what_comes_first_is_taken_with_a_reason() -> None:
    workflow = order(choice(paid(), review(), late()))
    outcome = run_in_memory(workflow, answers={"review": Review(outcome="yes")})
    assert outcome.path == ["choice", "judge"]
    assert outcome.state.first == "review"
    assert outcome.state.review == Review(outcome="yes")
    made = [(one.source, one.result, one.reason) for one in outcome.decisions]
    assert made == [
        ("paid", False, "“paid” was withdrawn: “review” came first"),
        ("review", True, "“review” came first, from someone"),
        ("late", False, "“late” was withdrawn: “review” came first"),
        ("choice", False, "“review” came first, not “paid”"),
        ("choice", True, "“review” came first"),
    ]


def test_what_came_first_is_a_decision_also_at_an_exit() -> None:
    both = choice(paid(), late())
    workflow = Workflow("order", state=Order, start=both, routes={})
    outcome = run_in_memory(workflow, answers={"paid": {"amount": 1}})
    assert outcome.status == "completed"
    assert [one.source for one in outcome.decisions if one.result] == ["paid"]


def test_without_an_answer_the_earliest_time_passes() -> None:
    clock = ManualClock(START)
    parts = paid(), review(within=timedelta(days=9)), late(3), wait(START, name="then")
    outcome = run_in_memory(order(choice(*parts[:3])), clock=clock)
    assert outcome.state.first == "late"
    assert clock.now() == START + timedelta(days=3)
    outcome = run_in_memory(order(choice(*parts)), clock=ManualClock(START))
    assert outcome.state.first == "then"


def test_an_approval_that_expires_before_the_time_comes_first() -> None:
    soon = timedelta(days=1)
    declared = choice(paid(), review(within=soon, on_expiry={"outcome": "no"}), late())
    outcome = run_in_memory(order(declared))
    assert (outcome.state.first, outcome.path) == ("review", ["choice", "judge"])
    failing = run_in_memory(order(choice(paid(), review(within=soon), late())))
    assert failing.path == ["remind"]
    assert failing.state.first == ""
    reason = failing.decisions[1].reason
    assert reason == "“review” came first: it expired"


def test_without_a_time_the_run_waits_for_all() -> None:
    outcome = run_in_memory(order(choice(paid(), review())))
    assert outcome.status == "waiting"
    assert outcome.pause is not None
    assert [part.kind for part in outcome.pause.parts] == ["event", "approval"]
    assert outcome.pause.until is None


def test_a_function_that_returns_none_has_no_answer_to_its_part() -> None:
    seen: list[str] = []

    def none_for(pause: Paused) -> None:
        seen.append(pause.node)

    declared = order(choice(paid(), review(), late()))
    outcome = run_in_memory(declared, answers={"paid": none_for, "review": none_for})
    assert seen == ["paid", "review"]
    assert outcome.state.first == "late"


def test_votes_that_are_missing_do_not_come_first() -> None:
    both = choice(paid(), review(into="votes", votes=2), late())
    vote = Answer({"outcome": "yes"}, by="ada")
    outcome = run_in_memory(order(both), answers={"review": [vote]})
    assert outcome.state.first == "late"
    other = Answer({"outcome": "no"}, by="ben")
    outcome = run_in_memory(order(both), answers={"review": [vote, other]})
    assert [one.by for one in outcome.state.votes] == ["ada", "ben"]


def test_every_callback_gets_an_address_and_a_key_of_its_own() -> None:
    seen: list[tuple[str, str]] = []

    class Keys:
        def at(self, context: Any) -> Any:
            self.key = context.key
            return self

    def ask(state: Order, runtime: Any, url: str) -> None:
        seen.append((url, runtime.key))

    banks = [callback(ask, Payment, "payment", name=name) for name in ("one", "two")]
    run_in_memory(order(choice(*banks)), runtime=Keys())
    urls, keys = zip(*seen, strict=True)
    assert urls == tuple(
        f"https://signalbox.test/callbacks/{name}" for name in ("one", "two")
    )
    assert len(set(keys)) == 2


def test_a_function_of_a_part_that_exits_fails_only_its_run() -> None:
    def ask(state: Order, runtime: Any, url: str) -> None:
        raise SystemExit("bye")

    bank = callback(ask, Payment, "payment", name="bank")
    outcome = run_in_memory(Workflow("w", state=Order, start=choice(bank, late())
                                     , routes={}))  # fmt: skip
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.node == "choice"
    key = paid(key=lambda state: 1 / state.number)
    outcome = run_in_memory(
        Workflow("w", state=Order, start=choice(key, late()), routes={})
    )
    assert "division by zero" in repr(outcome)


def test_parts_are_named_after_variables_and_a_time_without_one_is_a_timer() -> None:
    incoming = event("payment", Payment, "payment")
    both = first_of(incoming, sleep(timedelta(days=1)), into="first")
    assert [part.name for part in both.parts] == ["incoming", "timer"]
    workflow = Workflow("order", state=Order, start=both, routes={})
    assert workflow.shape.names == ("both",)


def test_parts_are_in_the_fingerprint() -> None:
    prints = {
        order(choice(*parts)).fingerprint
        for parts in (
            (paid(), late()),
            (paid(), review()),
            (paid(), late(4)),  # the same parts
            (paid(), review(), late()),
        )
    }
    assert len(prints) == 3


def test_a_personal_approval_among_the_parts_is_found() -> None:
    assert order(choice(review(not_by="launcher"), late())).has_personal_approvals
    assert not order(choice(review(), late())).has_personal_approvals


def test_an_approval_after_the_choice_may_exclude_who_responded_in_it() -> None:
    second = approval(
        "Sure?", Review, "review", not_by="previous", name="second approval"
    )
    both = choice(review(), late())
    Workflow("order", state=Order, start=both, routes={both: second})
    with pytest.raises(DefinitionError, match="no approval comes before"):
        order(choice(review(not_by="previous"), late()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: choice(paid()), "waits for 2 to 100 nodes, and 1 was given"),
        (lambda: choice(paid(), ship), "cannot wait for <node ship>"),
        (lambda: choice(paid(), None), "cannot wait for None"),
        (lambda: choice(paid(), paid()), "two nodes called “paid”"),
        (lambda: choice(choice(paid(), late()), late()), "cannot wait for <first_of"),
        (
            lambda: first_of(paid(), event("x", Payment, "payment"), into="first"),
            "event node without a name",
        ),
        (
            lambda: choice(review(), approval("?", Review, "review", name="other")),
            "has the approvals “review” and “other”",
        ),
        (lambda: choice(paid(), late()).was(review()), "not one of “paid”, “late”"),
        (
            lambda: order(choice(paid(), late(), into="number")),
            "which Order declares as int: declare it as str",
        ),
        (
            lambda: order(choice(paid(), review(), into="few")),
            "(“paid”, “review”) into “few”",
        ),
        (
            lambda: order(choice(paid(), late(), into="nothing")),
            "Order has no such field",
        ),
        (
            lambda: order(choice(review(into="payment"), late())),
            "give the field that type",
        ),
    ],
)
def test_mistakes_are_reported_at_import(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        make()
    assert message in str(raised.value)


def test_a_field_with_the_names_alone_accepts_them() -> None:
    both = choice(paid(), late(), into="few")
    assert run_in_memory(order(both)).state.few == "late"


def test_a_part_cannot_be_a_node_of_the_routes_too() -> None:
    part = paid()
    both = choice(part, late())
    with pytest.raises(DefinitionError, match="“paid” exists already"):
        Workflow("order", state=Order, start=both, routes={both: part})


def test_a_condition_twice_on_a_route_is_reported() -> None:
    both = choice(paid(), late())
    routes: Any = {
        both: [
            when(both.was(both.parts[0]), ship),
            when(both.was(both.parts[0]), judge),
            otherwise(remind),
        ]
    }
    with pytest.raises(DefinitionError, match="is never taken"):
        Workflow("order", state=Order, start=both, routes=routes)


def test_a_choice_in_a_loop_begins_again() -> None:
    both = choice(paid(), late())
    given = iter([{"amount": 1}, {"amount": 2}])
    routes: Any = {
        both: [
            when(both.was(both.parts[1]), remind),
            when(lambda state: state.payment.amount > 1, ship),
            otherwise(both),
        ]
    }
    workflow = Workflow("order", state=Order, start=both, routes=routes)
    outcome = run_in_memory(workflow, answers={"paid": lambda _: next(given)})
    assert outcome.path == ["choice", "choice", "ship"]
