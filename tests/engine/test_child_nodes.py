"""Nodes that launch runs of other workflows: declarations, and runs in memory."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from workflows.engine import (
    ExecutionError,
    Graph,
    Retry,
    State,
    Workflow,
    continue_as_new,
    launch,
    node,
    otherwise,
    predicate,
    subworkflow,
    when,
    when_failed,
)
from workflows.engine.errors import DefinitionError, describe
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
    "params",
    [{"n": 4}, Doubled(n=4), lambda _: Doubled(n=4)],
    ids=["mapping", "model", "function"],
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


# Launch ---------------------------------------------------------------------------------


class Batch(State):
    """State of a workflow that launches others and continues."""

    numbers: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    done: bool = False


def add_id(state: Batch, run_id: str) -> Batch:
    return state.set(ids=(*state.ids, run_id), numbers=state.numbers[1:])


@node
def finish(state: Batch) -> Batch:
    return state.set(done=True)


@predicate("{s.numbers}")
def has_more(state: Batch) -> bool:
    return bool(state.numbers)


def test_a_step_that_launches_a_run_continues_with_its_id() -> None:
    start = launch(doubling, lambda s: {"n": s.numbers[0]}, add_id, name="start")
    flow = Workflow(
        "starts",
        state=Batch,
        start=start,
        routes={start: [when(has_more, start), otherwise(finish)]},
    )
    outcome = run_in_memory(flow, {"numbers": [3, 4]})
    assert outcome.status == "completed", outcome.error
    assert outcome.state.done
    assert [(one.workflow, one.params) for one in outcome.launched] == [
        ("doubling", {"n": 3}),
        ("doubling", {"n": 4}),
    ]
    assert outcome.state.ids == tuple(one.run_id for one in outcome.launched)
    assert len({*outcome.state.ids}) == 2


def test_a_launch_repeated_by_a_retry_launches_one_run() -> None:
    tries = []

    def break_once(state: Batch, run_id: str) -> Batch:
        tries.append(run_id)
        if len(tries) == 1:
            raise OSError("not stored")
        return state.set(ids=(run_id,))

    start = launch(doubling, {"n": 1}, break_once, name="start")
    start.retry = Retry(attempts=2, on=OSError, wait=0)
    outcome = run_in_memory(Workflow("starts", state=Batch, start=start, routes={}))
    assert outcome.status == "completed", outcome.error
    assert len(outcome.launched) == 1
    assert tries == [outcome.launched[0].run_id] * 2


def test_the_params_of_a_launch_are_checked_as_those_of_a_child() -> None:
    start = launch(doubling, lambda _: {"n": -1}, name="start")
    outcome = run_in_memory(Workflow("starts", state=Batch, start=start, routes={}))
    assert outcome.status == "failed"
    assert "“doubling” was not launched: n: Input should be" in str(outcome.error)
    assert outcome.launched == []


async def test_a_graph_without_runs_launches_nothing() -> None:
    for start in (launch(doubling, {"n": 1}), continue_as_new({})):
        graph = Graph("alone")
        graph.add_node("start", start)
        graph.set_entry_point("start")
        graph.set_exit_point("start")
        with pytest.raises(ExecutionError) as caught:
            await graph.execute(State())
        assert "this graph is executed by itself" in describe(caught.value)


def test_launches_cannot_follow_the_end_of_a_run() -> None:
    at_end = launch(doubling, {"n": 1}, name="start")
    with pytest.raises(DefinitionError, match="it launches a run, which only a step"):
        Workflow("ends", state=Batch, start=finish, routes={}, on_end=at_end)


# Continue as new ------------------------------------------------------------------------


class Count(State):
    """State of an endless loop."""

    n: int = 0


@node
def count(state: Count) -> Count:
    return state.set(n=state.n + 1)


@predicate("{s.n}")
def below_three(state: Count) -> bool:
    return state.n < 3


class Start(BaseModel):
    """Params of an endless loop."""

    n: int = 0


@node
def stop(state: Count) -> Count:
    return state


again = continue_as_new(lambda s: {"n": s.n})
counting = Workflow(
    "counting",
    state=Count,
    params=Start,
    start=count,
    routes={count: [when(below_three, again), otherwise(stop)]},
)


def test_a_run_that_continues_as_a_new_one_completes_with_the_next_params() -> None:
    outcome = run_in_memory(counting, {"n": 1})
    assert (outcome.status, outcome.next_params) == ("completed", {"n": 2})
    assert "continues with {'n': 2}" in repr(outcome)
    last = run_in_memory(counting, outcome.next_params)
    assert (last.status, last.next_params, last.state.n) == ("completed", None, 3)


def test_a_parent_waits_for_the_last_of_the_runs_that_continue_its_child() -> None:
    flow = parent(counting, {}, into="found")
    assert run_in_memory(flow).state["found"]["n"] == 3


def test_invalid_params_of_the_next_run_fail_the_node() -> None:
    wrong = continue_as_new(lambda _: {"n": "many"}, name="wrong")
    flow = Workflow("w", state=Count, params=Start, start=wrong, routes={})
    outcome = run_in_memory(flow)
    assert (outcome.status, outcome.next_params) == ("failed", None)
    assert "cannot continue as a new one: n: Input should be" in str(outcome.error)


def test_a_failure_route_of_the_last_node_is_followed() -> None:
    wrong = continue_as_new(lambda _: {"n": "many"}, name="wrong")
    flow = Workflow(
        "w",
        state=Count,
        params=Start,
        start=wrong,
        routes={wrong: [when_failed(stop)]},
    )
    outcome = run_in_memory(flow)
    assert (outcome.status, outcome.path[-1]) == ("completed", "stop")
    assert outcome.next_params is None


@pytest.mark.parametrize(
    ("params", "routes", "sentence"),
    [
        ({"n": "many"}, (), "“again” launches “loop”, which does not accept its params"),
        (7, (), "The params of the next run are 7"),
        ({}, (stop,), "“again” ends the run, which continues as a new one, and has a route"),
    ],
    ids=["params", "type", "route"],
)  # fmt: skip
def test_mistakes_in_a_continuation_are_refused_at_import(
    params: Any, routes: Any, sentence: str
) -> None:
    def loop() -> Workflow[Count]:
        once = continue_as_new(params, name="again")
        after: Any = {once: stop} if routes else {}
        return Workflow("loop", state=Count, params=Start, start=once, routes=after)

    with pytest.raises(DefinitionError) as caught:
        loop()
    assert sentence in str(caught.value)
