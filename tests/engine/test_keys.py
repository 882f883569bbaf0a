"""Predicates on one key: strict about types, with reasons that state the needed value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel

from tests.engine.json_values import VALUES
from workflows.engine.errors import DefinitionError
from workflows.engine.frozen import equal
from workflows.engine.predicates import (
    ABSENT,
    Predicate,
    key,
    key_equals,
    key_exists,
    not_,
)
from workflows.engine.state import State

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Colour(Enum):
    """Markings."""

    RED = "red"


class Params(BaseModel):
    """Params of a run."""

    threshold: float = 0.8
    note: str = (
        "a note that is rather long, so that no one wants it in a reason as a whole"
    )


class Case(State):
    """State of a run."""

    params: Params = Params()
    confidence: float = 0.62
    label: str = "invoice"
    due: datetime | None = None
    colour: Colour = Colour.RED


def reason(condition: Predicate[Any], **values: Any) -> str:
    """Return the reason of a predicate for an open state."""
    return condition.evaluate(State(values)).reason


def test_existence_is_true_for_a_null_value_and_false_for_a_missing_key() -> None:
    exists = key_exists("k")
    assert exists(State(k=None))
    assert not exists(State())
    assert exists.name == "k exists"
    assert reason(exists, k=0) == "k is there"
    assert reason(exists) == reason(~exists) == "k is absent"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (1.0, "1"),
        (None, False),
        ([1], [1.0]),
        ([1, 2], [2, 1]),
        ({"a": {"b": 1}}, {"a": {"b": True}}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ("x", None),
    ],
    ids=repr,
)
def test_equality_is_strict_about_types_at_every_level(wanted: Any, found: Any) -> None:
    assert not key_equals("k", wanted)(State(k=found))
    assert not key_equals("k", found)(State(k=wanted))
    assert key_equals("k", wanted)(State(k=wanted))


def test_a_missing_key_equals_nothing() -> None:
    condition = key_equals("k", None)
    assert condition(State(k=None))
    assert not condition(State())
    assert not_(condition)(State())
    assert condition.evaluate(State()).values == {"k": ABSENT}
    assert reason(condition) == "k is absent, needs null"


@given(VALUES, VALUES)
def test_equality_agrees_with_equality_of_json(wanted: Any, found: Any) -> None:
    assert key_equals("k", wanted)(State(k=found)) == equal(wanted, found)


def test_equality_accepts_values_of_a_typed_state() -> None:
    case = Case(due=NOON)
    assert key("colour").equals(Colour.RED)(case)
    assert key("due").equals(NOON)(case)
    assert not key("due").equals(LATER)(case)
    assert key("params").equals(Params())(case)
    with pytest.raises(DefinitionError, match="so “k” never equals it"):
        key("k").equals(object())


@pytest.mark.parametrize(
    ("condition", "below", "same", "above"),
    [
        (key("k").at_least(2), False, True, True),
        (key("k").at_most(2), True, True, False),
        (key("k").above(2), False, False, True),
        (key("k").below(2), True, False, False),
    ],
    ids=["at least", "at most", "above", "below"],
)
def test_numbers_are_compared_with_a_bound(
    condition: Predicate[Any], below: bool, same: bool, above: bool
) -> None:
    assert [condition(State(k=value)) for value in (1, 2, 3)] == [below, same, above]
    assert [condition(State(k=value)) for value in (1.5, 2.0, 2.5)] == [
        below,
        same,
        above,
    ]


@pytest.mark.parametrize("found", ["3", None, True, [3], {"n": 3}], ids=repr)
def test_a_value_that_is_no_number_is_neither_above_nor_below_a_limit(
    found: Any,
) -> None:
    for condition in (key("k").at_least(2), key("k").below(2), key("k").above(-1)):
        evaluation = condition.evaluate(State(k=found))
        assert not evaluation.result
        assert "cannot be compared, needs " in evaluation.reason
        assert evaluation.values == {"k": found}


def test_texts_and_typed_values_are_compared_with_their_like() -> None:
    assert key("k").at_least("b")(State(k="c"))
    assert not key("k").at_least("b")(State(k="a"))
    condition = key("due").below(LATER)
    assert condition(Case(due=NOON))
    assert not condition(Case(due=LATER))
    assert not condition(Case())
    assert reason(key("k").below(Decimal("1.5")), k=1) == "k 1, needs below 1.50"


def test_one_of_several_is_strict_as_well() -> None:
    condition = key("k").one_of("a", 1)
    assert [condition(State(k=value)) for value in ("a", 1, 1.0, True, "b")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert condition.name == "k one of “a”, 1"
    assert reason(condition, k="b") == "k “b”, needs one of “a”, 1"
    assert not key("k").one_of()(State(k=1))


@pytest.mark.parametrize("value", [True, False, None, 1, 0, "true", ""], ids=repr)
def test_true_false_and_null_are_matched_strictly(value: Any) -> None:
    state = State(k=value)
    assert key("k").is_true()(state) == (value is True)
    assert key("k").is_false()(state) == (value is False)
    assert key("k").is_null()(state) == (value is None)


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (key("k").at_least(0.8), 0.62, "k 0.62, needs at least 0.80"),
        (key("k").at_least(0.8), 0.9, "k 0.90, needs at least 0.80"),
        (key("k").at_least(5), 3, "k 3, needs at least 5"),
        (key("k").at_least(5), 4.5, "k 4.50, needs at least 5"),
        (key("k").at_least(0.8), 0.79999999, "k 0.79999999, needs at least 0.8"),
        (key("k").at_least(0.125), 0.1, "k 0.100, needs at least 0.125"),
        (key("k").below(1e-9), 2.5, "k 2.5, needs below 1e-09"),
        (~key("k").at_least(0.8), 0.62, "k 0.62, must not be at least 0.80"),
        (~key("k").equals("x"), "y", "k “y”, must not be “x”"),
        (~key("k").is_true(), False, "k false, must not be true"),
        (key("k").above(2), "high", "k “high” cannot be compared, needs above 2"),
        (key("k").equals(1), {}, "k {}, needs 1"),
        (key("k").equals(1), {"a": {"b": 1}}, "k {…}, needs 1"),
        (key("k").equals(1), list(range(9)), "k […], needs 1"),
        (key("k").equals(1), [1, 2], "k [1, 2], needs 1"),
        (key("k").equals(1), 1.0, "k 1.0, needs 1"),
        (key("k").equals(1), True, "k true, needs 1"),
    ],
    ids=lambda value: getattr(value, "name", repr(value)),
)
def test_a_reason_has_the_value_and_what_was_needed(
    condition: Predicate[Any], value: Any, expected: str
) -> None:
    assert reason(condition, k=value) == expected


def test_a_long_value_is_shortened_in_a_reason_and_whole_among_the_values() -> None:
    text = "x" * 10_000
    evaluation = key("k").equals("y").evaluate(State(k=text))
    assert len(evaluation.reason) < 100
    assert "…" in evaluation.reason
    assert evaluation.values == {"k": text}
