"""Nodes that launch runs of other workflows: what they accept, and their runs in memory."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from workflows.engine import State, Workflow, node, subworkflow
from workflows.engine.errors import DefinitionError
from workflows.engine.testing import run_in_memory


class Doubled(BaseModel):
    """Params of the child."""

    n: int = Field(ge=0)


class Sums(State):
    """State of the child."""

    params: Doubled
    result: int = 0


@node
def double(state: Sums) -> Sums:
    return state.set(result=state.params.n * 2)


@node
def refuse(state: Sums) -> Sums:
    raise ValueError(f"{state.params.n} is refused")


doubling = Workflow("doubling", state=Sums, start=double, routes={})
refusing = Workflow("doubling", state=Sums, start=refuse, routes={})


def parent(*given: Any, **options: Any) -> Workflow[State]:
    """Return a workflow whose only node, “call”, launches another one."""
    call = subworkflow(*given, **options, name="call")
    return Workflow("parent", state=State, start=call, routes={})


def test_a_child_given_as_a_workflow_is_found_in_memory() -> None:
    flow = parent(doubling, lambda _: {"n": 4}, into="found")
    assert run_in_memory(flow).state["found"]["result"] == 8


def test_a_child_in_subworkflows_replaces_the_one_of_the_node() -> None:
    flow = parent(doubling, lambda _: {"n": 4}, into="found")
    outcome = run_in_memory(flow, subworkflows={"doubling": refusing})
    assert outcome.status == "failed"
    assert "4 is refused" in str(outcome.error)


def test_an_answer_replaces_the_child_run() -> None:
    flow = parent(doubling, {"n": 4}, into="found")
    outcome = run_in_memory(flow, answers={"call": {"result": 5}})
    assert outcome.state["found"] == {"result": 5}


@pytest.mark.parametrize(
    "params", [{"n": 4}, Doubled(n=4), lambda _: Doubled(n=4)], ids=str
)
def test_params_are_a_constant_or_a_function_of_the_state(params: Any) -> None:
    outcome = run_in_memory(parent(doubling, params, into="found"))
    assert outcome.state["found"]["result"] == 8


def test_the_params_of_a_child_are_checked_before_it_starts() -> None:
    flow = parent(doubling, lambda _: {"n": -1}, into="found")
    outcome = run_in_memory(flow)
    assert outcome.status == "failed"
    assert "The workflow “doubling” was not launched: n: Input should be" in str(
        outcome.error
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((doubling, {"n": -1}, "x"), "“parent”: node “call” launches “doubling”, which does not"),
        ((doubling, {"n": -1}, "x"), "does not accept its params: n: Input should be"),
        ((doubling, {}, "x"), "does not accept its params: n: Field required"),
        ((doubling, {"m": 1, "n": 1}, "x"), "doubling has no parameter “m”"),
        ((doubling, None, "x"), "“doubling” are None: give a function of the state"),
        ((doubling, dict, "x"), "a function of something else than the state"),
        ((double, {}, "x"), "is no workflow that a node can launch"),
        ((None, {}, "x"), "None is no workflow"),
        (("", {}, "x"), "'' is no workflow"),
        ((doubling, {"n": 1}, 7), "cannot be stored by 7: give the name of a field"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_at_import(given: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parent(*given)
    assert sentence in str(caught.value)


def test_a_workflow_or_its_name_gives_the_same_fingerprint() -> None:
    by_name = parent("doubling", {"n": 1}, "x")
    assert parent(doubling, {"n": 1}, "x").fingerprint == by_name.fingerprint
    assert [ref.name for ref in by_name.children] == ["doubling"]
