"""Nodes that wait for events: keys, values, expiry, and mistakes of authors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, SecretStr

from workflows.engine import (
    Answer,
    DefinitionError,
    Node,
    State,
    Workflow,
    callback,
    event,
    node,
)
from workflows.engine.errors import EventExpired
from workflows.engine.testing import ManualClock, run_in_memory


class Payment(BaseModel):
    amount: int


class Refund(BaseModel):
    amount: int


class Order(State):
    order_id: str = "42"
    payment: Payment | None = None
    other: Refund | None = None


@node
def ship(state: Order) -> Order:
    return state


def order(paid: Node[Any, Any]) -> Workflow[Order]:
    return Workflow("order", state=Order, start=paid, routes={paid: ship})


def paid(**options: Any) -> Node[Any, Any]:
    given = {"key": lambda state: state.order_id, "name": "paid", **options}
    return event("payment", Payment, "payment", **given)


def test_a_run_waits_for_the_event_with_the_key_of_its_state() -> None:
    outcome = run_in_memory(order(paid(within=timedelta(hours=1))))
    assert outcome.status == "waiting"
    pause = outcome.pause
    assert pause is not None
    assert (pause.kind, pause.event, pause.key) == ("event", "payment", "42")
    assert pause.until is not None
    assert outcome.path == []


def test_the_value_of_the_message_is_put_into_the_state() -> None:
    wait = paid()
    outcome = run_in_memory(order(wait), answers={wait: Payment(amount=3)})
    assert outcome.status == "completed"
    assert outcome.state.payment == Payment(amount=3)
    assert outcome.path == ["paid", "ship"]


def test_an_untyped_state_gets_the_value_as_json() -> None:
    wait = event("payment", Payment, "payment", name="paid")
    loose = Workflow("loose", state=State, start=wait, routes={})
    outcome = run_in_memory(loose, answers={"paid": {"amount": 3}})
    assert outcome.state["payment"] == {"amount": 3}


def test_a_value_of_another_type_fails_the_run() -> None:
    outcome = run_in_memory(order(paid()), answers={"paid": {"amount": "much"}})
    assert outcome.status == "failed"
    assert "The answer to “paid” does not fit" in repr(outcome)


def test_a_wait_that_expires_takes_the_declared_value_and_moves_the_clock() -> None:
    clock = ManualClock()
    began = clock.now()
    wait = paid(within=timedelta(hours=1), on_expiry=Payment(amount=0))
    outcome = run_in_memory(
        order(wait), answers={wait: Answer(expired=True)}, clock=clock
    )
    assert outcome.state.payment == Payment(amount=0)
    assert clock.now() == began + timedelta(hours=1)


def test_a_wait_that_expires_without_a_value_fails_with_the_event() -> None:
    wait = paid(within=timedelta(hours=1))
    outcome = run_in_memory(order(wait), answers={wait: Answer(expired=True)})
    assert outcome.status == "failed"
    assert outcome.error is not None
    cause = outcome.error.__cause__
    assert isinstance(cause, EventExpired)
    assert str(cause) == (
        "“paid” received no event “payment” within 1:00:00, and no value is declared for expiry."
    )


def test_a_wait_beyond_the_calendar_fails_with_the_name_of_the_node() -> None:
    outcome = run_in_memory(order(paid(within=timedelta.max)))
    assert outcome.status == "failed"
    assert "“paid” waits too long: 999999999 days" in repr(outcome)
    assert "is longer than the calendar." in repr(outcome)


@pytest.mark.parametrize(
    ("key", "text"), [(7, "7"), (UUID(int=7), str(UUID(int=7))), ("", "")]
)
def test_a_key_is_a_text_a_number_or_a_uuid(key: Any, text: str) -> None:
    outcome = run_in_memory(order(paid(key=lambda _: key)))
    assert outcome.pause is not None
    assert outcome.pause.key == text


@pytest.mark.parametrize("key", [None, True, 1.5, b"42", "x" * 201, " 42", "4\n2"])
def test_any_other_key_fails_the_run_with_a_sentence(key: Any) -> None:
    outcome = run_in_memory(order(paid(key=lambda _: key)))
    assert outcome.status == "failed"
    assert "The key of the event “payment”" in repr(outcome)


def test_a_wait_without_a_key_is_for_every_message_of_that_name() -> None:
    outcome = run_in_memory(order(paid(key=None)))
    assert outcome.pause is not None
    assert outcome.pause.key == ""


# Mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " payment", "a\nb", "x" * 101, None])
def test_an_event_needs_a_name_that_can_be_shown(name: Any) -> None:
    with pytest.raises(DefinitionError, match="event"):
        event(name, Payment, "payment")


def test_an_unknown_field_is_reported_with_the_node() -> None:
    with pytest.raises(DefinitionError, match="“paid” stores its result in “paymnt”"):
        order(event("payment", Payment, "paymnt", name="paid"))


def test_a_field_of_another_type_is_reported_with_the_node() -> None:
    with pytest.raises(DefinitionError, match="event “paid” puts a Refund into"):
        order(event("payment", Refund, "payment", name="paid"))


def test_a_value_for_expiry_of_another_type_is_reported() -> None:
    with pytest.raises(DefinitionError, match="on_expiry of the event “payment”"):
        paid(on_expiry={"sum": 3})


def test_an_answer_with_a_secret_is_reported() -> None:
    class Card(BaseModel):
        number: SecretStr

    with pytest.raises(DefinitionError, match="The answer to the event “card”"):
        event("card", Card, "payment")


def test_one_event_with_two_types_is_reported() -> None:
    first = paid()
    second = event("payment", Refund, "other", name="refunded")
    with pytest.raises(
        DefinitionError, match="“paid” and “refunded” wait for the event"
    ):
        Workflow("order", state=Order, start=first, routes={first: second})


def test_an_event_cannot_undo_a_step() -> None:
    with pytest.raises(DefinitionError):
        Workflow("order", state=Order, start=ship, routes={}, undo={ship: paid()})


# Callbacks --------------------------------------------------------------------------------


def test_a_callback_asks_with_an_address_and_waits_for_the_answer() -> None:
    urls: list[str] = []

    def ask(_state: Order, _runtime: object, url: str) -> None:
        urls.append(url)

    bank = callback(ask, Payment, "payment", name="bank", within=timedelta(days=1))
    pause = run_in_memory(order(bank)).pause
    assert pause is not None
    assert (pause.kind, pause.until is not None) == ("callback", True)
    outcome = run_in_memory(order(bank), answers={bank: {"amount": 3}})
    assert outcome.state.payment == Payment(amount=3)
    assert urls == ["https://signalbox.test/callbacks/bank"] * 2


def test_a_callback_that_returns_a_state_fails_with_a_sentence() -> None:
    bank: Any = callback(
        lambda state, _runtime, _url: state, Payment, "payment", name="b"
    )
    outcome = run_in_memory(order(bank))
    assert "cannot change the state" in repr(outcome)


def test_a_function_with_other_arguments_cannot_ask() -> None:
    ask: Any = lambda state: None  # noqa: E731, ARG005
    with pytest.raises(DefinitionError, match=r"\(state, runtime, url\)"):
        callback(ask, Payment, "payment")
