"""A reason is preceded by whether its condition was met, wherever it is read."""

from __future__ import annotations

import pytest

from workflows.engine import State, Workflow, node, otherwise, predicate, when
from workflows.engine.predicates.wording import explain
from workflows.engine.testing import run_in_memory


@predicate("{s.amount} EUR is below the limit of {s.limit} EUR")
def is_small(state: State) -> bool:
    return bool(state["amount"] < state["limit"])


@node
def check(state: State) -> State:
    return state


@node
def pay(state: State) -> State:
    return state


@node
def ask(state: State) -> State:
    return state


expense = Workflow(
    "expense",
    state=State,
    start=check,
    routes={check: [when(is_small, pay), otherwise(ask)]},
)


@pytest.mark.parametrize(
    ("amount", "reported"),
    [
        (20, ["condition met: 20 EUR is below the limit of 50 EUR"]),
        (
            90,
            ["condition not met: 90 EUR is below the limit of 50 EUR", "unconditional"],
        ),
    ],
)
def test_a_reason_template_that_states_a_result_is_not_recorded_as_the_opposite(
    amount: int, reported: list[str]
) -> None:
    outcome = run_in_memory(expense, {"amount": amount, "limit": 50})
    assert [one.explanation for one in outcome.decisions] == reported
    assert outcome.decisions[0].reason == f"{amount} EUR is below the limit of 50 EUR"


@pytest.mark.parametrize("name", ["", "always", "otherwise"])
def test_an_edge_without_a_condition_needs_no_reason(name: str) -> None:
    assert not explain(name, "always", result=True)


def test_a_condition_that_raised_was_neither_met_nor_not_met() -> None:
    raised = "is_small raised KeyError: 'limit'"
    reported = explain("is_small", raised, result=False)
    assert reported == f"condition could not be evaluated: {raised}"


def test_a_condition_without_a_reason_shows_its_result() -> None:
    assert explain("is_small", "", result=False) == "condition not met"
