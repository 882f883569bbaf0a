"""Predicates: results, the keys that are read, and reasons."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from workflows.engine.errors import DefinitionError, ExitRaised, PredicateFailed
from workflows.engine.predicates import (
    ABSENT,
    Edge,
    Evaluation,
    Predicate,
    all_of,
    always,
    any_of,
    key,
    not_,
    predicate,
)
from workflows.engine.state import State

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 12, tzinfo=UTC)


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
    due: str | None = None


@predicate("confidence {s.confidence:.0%}, threshold {s.params.threshold:.0%}")
def is_confident(state: Case) -> bool:
    """Return whether the confidence reaches the threshold."""
    return state.confidence >= state.params.threshold


@predicate
def was_approved(state: State) -> bool:
    return bool(state.get("approved"))


@predicate
def breaks(state: State) -> bool:
    return bool(1 / state.get("divisor", 0))


def reason(asked: Predicate[Any], **values: Any) -> str:
    """Return the reason of a predicate for an open state."""
    return asked.evaluate(State(values)).reason


# Functions --------------------------------------------------------------------------


def test_a_function_is_named_and_explained_by_its_template() -> None:
    evaluation = is_confident.evaluate(Case())
    assert evaluation == Evaluation(
        result=False,
        name="is_confident",
        reason="confidence 62%, threshold 80%",
        values={"confidence": 0.62, "params": Params().model_dump()},
    )
    assert (
        is_confident.__doc__ == "Return whether the confidence reaches the threshold."
    )
    assert is_confident(Case(confidence=0.9))


def test_a_function_without_a_template_reports_what_it_read() -> None:
    @predicate
    def is_sure(state: Case) -> bool:
        return state.confidence >= state.params.threshold

    assert (
        is_sure.evaluate(Case()).reason
        == "is_sure is false: confidence 0.62, params {…}"
    )
    assert was_approved.evaluate(State(approved=True)).reason == (
        "was_approved is true: approved true"
    )
    assert was_approved.evaluate(State()).reason == (
        "was_approved is false: approved is absent"
    )


def test_the_reason_of_a_function_that_reads_nothing_is_its_name_and_result() -> None:
    assert Predicate.of(lambda _state: True).evaluate(State()) == Evaluation(
        True, "lambda", "lambda is true"
    )


def test_the_values_are_exactly_the_keys_that_were_read() -> None:
    @predicate
    def asks(state: State) -> bool:
        return state.get("b") == 2 and "c" not in state and not state.get("d")

    evaluation = asks.evaluate(State(a=1, b=2, e=3))
    assert evaluation.values == {"b": 2, "c": ABSENT, "d": ABSENT}
    assert json.loads(json.dumps(evaluation.values))["c"] == {"absent": True}


def test_fields_read_only_by_the_template_are_not_recorded() -> None:
    @predicate("{s.label} has {s.confidence}")
    def is_labelled(state: Case) -> bool:
        return state.label != ""

    for asked in (is_labelled, is_labelled & always):
        evaluation = asked.evaluate(Case())
        assert evaluation.values == {"label": "invoice"}
        assert "invoice has 0.62" in evaluation.reason


def test_a_template_works_on_an_open_state() -> None:
    @predicate("score {s.score:.1f} of {s.of[most]}")
    def asked(state: State) -> bool:
        return state.get("score") > 3  # type: ignore[no-any-return]

    assert asked.evaluate(State(score=2, of={"most": 5})).reason == "score 2.0 of 5"


def test_a_template_that_does_not_fit_does_not_fail_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @predicate("due {s.due:%d}, {s.nothing}")
    def is_due(state: Case) -> bool:
        return state.due is not None

    with caplog.at_level(logging.WARNING):
        evaluation = is_due.evaluate(Case())
    assert evaluation.reason == "is_due is false: due null"
    assert "The template of predicate “is_due” does not fit" in caplog.text


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{s.a", "not well formed"),
        ("{a}", "knows the state only"),
        ("{}", "the state only"),
    ],
)
def test_a_template_that_never_fits_is_refused_at_once(template: str, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        predicate(template)(lambda _state: True)


def test_literal_braces_are_allowed_in_a_template() -> None:
    assert reason(predicate("{{{s.a}}}")(lambda _state: True), a=1) == "{1}"


def test_a_function_can_call_other_predicates_and_their_reads_count() -> None:
    @predicate
    def both(state: Case) -> bool:
        return is_confident(state) or key("label").equals("invoice")(state)

    evaluation = both.evaluate(Case())
    assert evaluation.result
    assert list(evaluation.values) == ["confidence", "params", "label"]


def test_a_truthy_result_counts_as_true() -> None:
    asked = Predicate.of(lambda state: state.get("names"))
    assert asked.evaluate(State(names=["a"])).result is True
    assert asked(State(names=[])) is False


async def _waits(_state: State) -> bool:
    return True


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_waits, "cannot be async"),
        (lambda: True, "takes the state and nothing else"),
        (lambda _state, _other: True, "takes the state and nothing else"),
        (key("k").exists, "takes the state and nothing else"),
        (3, "is a function of the state"),
    ],
    ids=["async", "no argument", "two arguments", "not called", "no function"],
)
def test_what_cannot_be_a_predicate_is_refused_at_once(function: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        Predicate.of(function)


def test_a_predicate_is_not_wrapped_again_and_can_be_named() -> None:
    assert Predicate.of(is_confident) is is_confident
    assert predicate(name="is fine")(lambda _state: True).name == "is fine"


# Combinators ------------------------------------------------------------------------


def test_always_is_met_and_reads_nothing() -> None:
    assert always.evaluate(State(a=1)) == Evaluation(True, "always", "always")


def test_without_parts_all_of_is_true_and_any_of_is_false() -> None:
    everything: Predicate[State] = all_of()
    anything: Predicate[State] = any_of()
    assert everything(State())
    assert not anything(State())
    assert (everything.name, anything.name) == ("always", "never")
    assert reason(everything) == "no conditions"
    assert reason(anything) == "there is nothing to choose from"


a, b, c = (key(name).is_true() for name in "abc")


@given(st.lists(st.booleans(), max_size=5))
def test_all_and_any_evaluate_like_python(values: list[bool]) -> None:
    parts = [key(str(n)).is_true() for n in range(len(values))]
    state = State({str(n): value for n, value in enumerate(values)})
    assert all_of(*parts)(state) == all(values)
    assert any_of(*parts)(state) == any(values)


@pytest.mark.parametrize(
    ("asked", "result", "evaluated"),
    [
        (a & b, False, ["a is true"]),
        (b & a, False, ["b is true", "a is true"]),
        (b | a, True, ["b is true"]),
        (a | b, True, ["a is true", "b is true"]),
        (a | c, False, ["a is true", "c is true"]),
        (b & all_of(b, b), True, ["b is true", "b is true and b is true"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parts_are_evaluated_from_left_to_right_until_the_result_is_known(
    asked: Predicate[Any], result: bool, evaluated: list[str]
) -> None:
    state = State(a=False, b=True, c=False)
    evaluation = asked.evaluate(state)
    assert evaluation.result == asked(state) == result
    assert [part.name for part in evaluation.parts] == evaluated
    assert evaluation.reason == "; ".join(part.reason for part in evaluation.parts)
    assert set(evaluation.values) == {name[0] for name in evaluated}


def test_the_negation_contains_its_part() -> None:
    evaluation = (~is_confident).evaluate(Case())
    assert evaluation.result
    assert evaluation.name == "not is_confident"
    assert evaluation.reason == "confidence 62%, threshold 80%"
    assert evaluation.parts == (is_confident.evaluate(Case()),)
    assert evaluation.values == evaluation.parts[0].values


def test_a_double_negation_is_the_predicate_itself() -> None:
    assert not_(not_(a)) is a
    assert (~~(a & b)).name == (a & b).name


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (is_confident & ~was_approved, "is_confident and not was_approved"),
        (~(a & b), "not (a is true and b is true)"),
        (a | b & c, "a is true or b is true and c is true"),
        ((a | b) & c, "(a is true or b is true) and c is true"),
        (all_of(a, b, c), "a is true and b is true and c is true"),
        (any_of(a, ~b), "a is true or not b is true"),
        (key("n").at_least(0.8), "n at least 0.8"),
        (key("n").equals("x"), "n equals “x”"),
    ],
    ids=str,
)
def test_names_of_combined_predicates_are_readable(
    asked: Predicate[Any], name: str
) -> None:
    assert asked.name == name
    assert repr(asked) == f"<predicate {name}>"


@pytest.mark.parametrize(
    "wrong",
    [lambda: a and b, lambda: not a, lambda: bool(a)],  # type: ignore[redundant-expr]
    ids=["and", "not", "bool"],
)
def test_python_and_or_not_operators_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"&, \| and ~"):
        wrong()


def test_combinators_accept_plain_functions() -> None:
    asked = all_of(a, lambda state: state.get("b"))  # type: ignore[arg-type]
    assert asked(State(a=True, b=1))


# Failures ---------------------------------------------------------------------------


def test_a_predicate_that_raises_reports_the_values_read_before() -> None:
    with pytest.raises(PredicateFailed) as caught:
        breaks.evaluate(State(divisor=0, other=1))
    assert caught.value.evaluation == Evaluation(
        result=False,
        name="breaks",
        reason="breaks raised ZeroDivisionError: division by zero",
        values={"divisor": 0},
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "“breaks” failed: breaks raised ZeroDivisionError" in str(caught.value)


def test_a_nested_error_reports_the_evaluated_parts_and_the_first_cause() -> None:
    asked = a & ~(b | breaks)
    with pytest.raises(PredicateFailed) as caught:
        asked.evaluate(State(a=True, b=False))
    evaluation = caught.value.evaluation
    assert (evaluation.result, evaluation.name) == (False, asked.name)
    assert evaluation.reason == "breaks raised ZeroDivisionError: division by zero"
    assert evaluation.values == {"a": True, "b": False, "divisor": ABSENT}
    assert [part.name for part in evaluation.parts] == [
        "a is true",
        "not (b is true or breaks)",
    ]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_predicate_after_the_deciding_one_is_not_called() -> None:
    assert not (a & breaks).evaluate(State(a=False)).result
    assert (b | breaks).evaluate(State(b=True)).result


def test_a_field_that_a_typed_state_does_not_have_is_a_failure_with_a_hint() -> None:
    asked: Predicate[Any] = Predicate.of(lambda state: state.lable == "x")
    with pytest.raises(PredicateFailed, match="Is it “label”"):
        asked.evaluate(Case())


def test_a_predicate_that_would_end_the_process_has_failed() -> None:
    def stops(_state: State) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(PredicateFailed, match="stops raised KeyboardInterrupt") as one:
        Predicate.of(stops).evaluate(State())
    assert isinstance(one.value.__cause__, ExitRaised)


# Edges ------------------------------------------------------------------------------


def test_an_edge_without_a_predicate_is_always_taken() -> None:
    edge = Edge("a", "b")
    assert edge.evaluate(State()) == Evaluation(True, "", "always")
    assert edge.predicate_name == ""


def test_an_edge_evaluates_its_predicate_and_is_named_in_its_errors() -> None:
    edge = Edge("weigh", "publish", breaks, "fine")
    assert edge.predicate_name == "breaks"
    assert edge.evaluate(State(divisor=1)).result
    with pytest.raises(
        PredicateFailed, match="“breaks” of weigh → publish failed"
    ) as caught:
        edge.evaluate(State())
    assert caught.value.edge is edge
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_predicates_and_nodes_receive_the_same_types() -> None:
    who = UUID(int=1)

    class AnyWorkflow(State):
        who: UUID

    assert Predicate.of(lambda state: state.who == who)(AnyWorkflow(who=who))
    assert (
        Predicate.of(lambda state: state["who"].int == 1)
        .evaluate(AnyWorkflow(who=who))
        .result
    )
