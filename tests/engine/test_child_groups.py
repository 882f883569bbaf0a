"""Nodes that run a child workflow for each element of a list, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from workflows.engine import State, Workflow, node, subworkflows
from workflows.engine.child_groups import Counts
from workflows.engine.errors import DefinitionError
from workflows.engine.testing import run_in_memory


class One(BaseModel):
    """Params of a child."""

    n: int


class Doubled(State):
    """State of a child."""

    params: One
    result: int = 0


class Many(State):
    """State of the parent."""

    numbers: tuple[int, ...] = ()
    factor: int = 1
    found: tuple[dict[str, Any] | None, ...] = ()


@node
def double(state: Doubled) -> Doubled:
    if state.params.n < 0:
        raise ValueError(f"{state.params.n} is negative")
    return state.set(result=state.params.n * 2)


doubling = Workflow("doubling", state=Doubled, start=double, routes={})


def parent(**options: Any) -> Workflow[Many]:
    """Return a workflow whose only node, “each”, runs a child for each number."""
    given: dict[str, Any] = {"over": "numbers", "into": "found"}
    given["params"] = lambda n: {"n": n}
    each = subworkflows(doubling, **(given | options), name="each")
    return Workflow("parent", state=Many, start=each, routes={})


def results(outcome: Any) -> list[int | None]:
    return [one and one["result"] for one in outcome.state.found]


def test_there_is_a_result_for_each_element_in_order() -> None:
    outcome = run_in_memory(parent(), {"numbers": [3, 1, 2]})
    assert outcome.status == "completed", outcome.error
    assert results(outcome) == [6, 2, 4]


def test_params_may_depend_on_the_state_and_elements_be_computed() -> None:
    flow = parent(over=lambda s: s.numbers[1:], params=lambda s, n: One(n=s.factor * n))
    assert results(run_in_memory(flow, {"numbers": [3, 1, 2], "factor": 10})) == [
        20,
        40,
    ]


def test_without_elements_the_results_are_empty() -> None:
    outcome = run_in_memory(parent(), {"numbers": []})
    assert (outcome.status, outcome.state.found) == ("completed", ())


def test_a_failed_child_fails_the_node_after_all_have_ended() -> None:
    outcome = run_in_memory(parent(), {"numbers": [1, -2, -3]})
    assert outcome.status == "failed"
    assert "“doubling” failed: 2 of 3 did not complete. The first: " in str(
        outcome.error
    )
    assert "-2 is negative" in str(outcome.error)


def test_with_fail_fast_the_first_failure_ends_the_others() -> None:
    outcome = run_in_memory(parent(fail_fast=True), {"numbers": [1, -2, -3]})
    assert "1 of 3 did not complete" in str(outcome.error)


def test_with_need_the_others_have_no_result() -> None:
    outcome = run_in_memory(parent(need=2), {"numbers": [-1, 1, 2, 3]})
    assert outcome.status == "completed", outcome.error
    assert results(outcome) == [None, 2, 4, None]


def test_with_need_too_few_fail_the_node() -> None:
    outcome = run_in_memory(parent(need=2), {"numbers": [-1, 1, -2]})
    assert "2 of 3 did not complete, and 2 had to complete" in str(outcome.error)
    outcome = run_in_memory(parent(need=2), {"numbers": [1]})
    assert "has to complete 2 times, and there are 1 elements" in str(outcome.error)


def test_invalid_params_of_one_element_launch_nothing() -> None:
    outcome = run_in_memory(parent(params=lambda n: {"m": n}), {"numbers": [1]})
    assert "was not launched: m: doubling has no parameter “m”" in str(outcome.error)


def test_an_answer_replaces_the_child_runs() -> None:
    outcome = run_in_memory(
        parent(), {"numbers": [1, 2]}, answers={"each": [{"result": 7}, None]}
    )
    assert results(outcome) == [7, None]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"params": {"n": 1}}, "give a function of the element"),
        ({"params": lambda: 1}, "give a function of the element"),
        ({"over": 7}, "give the name of a field, or a function of the state"),
        ({"over": "names"}, "“each” works on “names”, and Many has no such field"),
        ({"into": "names"}, "“each” stores its result in “names”"),
        ({"limit": 0}, "The limit of the workflow “doubling” is 0: use 1 or more"),
        ({"need": 0}, "The need of the workflow “doubling” is 0"),
        ({"limit": "5"}, "is '5': use 1 or more"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_at_import(options: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parent(**options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("completed", "failed", "need", "fail_fast", "verdict"),
    [
        (0, 0, None, False, ""),
        (3, 1, None, False, ""),
        (4, 1, None, False, "failed"),
        (5, 0, None, False, "met"),
        (0, 1, None, True, "failed"),
        (2, 3, 2, True, "met"),
        (1, 3, 2, False, ""),
        (1, 4, 2, False, "failed"),
    ],
)
def test_the_verdict_about_five_children(
    completed: int, failed: int, need: int | None, fail_fast: bool, verdict: str
) -> None:
    counts = Counts(5, completed, failed)
    assert counts.verdict(need, fail_fast=fail_fast) == verdict
