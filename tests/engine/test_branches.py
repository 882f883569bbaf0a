"""Branches in memory: their steps, the join, failures, and the steps kept after a resume."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tests.engine.parts import Gate, Runs, start
from workflows.engine import (
    Cancellation,
    ExecutionError,
    Failed,
    Paused,
    Retry,
    State,
    Workflow,
    branches,
    node,
    otherwise,
    parallel,
    when,
    when_failed,
)
from workflows.engine.errors import BranchesFailed, NodeTimedOut
from workflows.engine.testing import run_in_memory
from workflows.runtime import FakeRuntime, Runtime


class Parts(BaseModel):
    category: str = ""
    summary: dict[str, Any] = {}
    risk: float = 0.0


class Case(State):
    text: str = "abc"
    words: int = 0
    parts: Parts | None = None


@node
def classify(state: Case) -> str:
    return state.text.upper()


@node
async def summarise(state: Case) -> Case:
    return state.set(text=state.text[:1])


@node
async def extract(state: Case) -> Case:
    return state.set(words=len(state.text))


@node
async def score(state: Case, runtime: Runtime) -> float:
    return state.words / 4


@node
def finish(state: Case) -> Case:
    return state


def case_of(both: Any, **options: Any) -> Workflow[Case]:
    return Workflow("case", state=Case, start=both, routes={both: finish}, **options)


def all_three() -> Any:
    return branches(
        {"category": classify, "summary": summarise, "risk": [extract, score]},
        into="parts",
        name="both",
    )


def test_each_branch_sees_its_own_changes_and_the_join_puts_all_results_into_one_field() -> (
    None
):
    outcome = run_in_memory(case_of(all_three()), runtime=FakeRuntime())
    assert outcome.state.parts == Parts(
        category="ABC", summary={"text": "a"}, risk=0.75
    )
    assert (outcome.state.text, outcome.state.words) == ("abc", 0)
    assert outcome.path == [
        "classify",
        "summarise",
        "extract",
        "score",
        "both",
        "finish",
    ]


def test_the_steps_of_branches_have_the_numbers_before_the_join_in_the_declared_order() -> (
    None
):
    outcome = run_in_memory(case_of(all_three()), runtime=FakeRuntime())
    assert [(s.sequence, s.node, s.branch, s.status) for s in outcome.stages] == [
        (1, "classify", "category", "completed"),
        (2, "summarise", "summary", "completed"),
        (3, "extract", "risk", "completed"),
        (4, "score", "risk", "completed"),
        (5, "both", "", "completed"),
        (6, "finish", "", "completed"),
    ]
    ways = {(d.sequence, d.source, d.target) for d in outcome.decisions}
    assert ways == {
        (1, "classify", "both"),
        (2, "summarise", "both"),
        (3, "extract", "score"),
        (4, "score", "both"),
        (5, "both", "finish"),
    }


def test_the_branches_of_an_untyped_state_give_json() -> None:
    class Found(BaseModel):
        at: int

    @node
    def one(state: State) -> Found:
        return Found(at=1)

    @node
    def two(state: State) -> State:
        return state.set(a=1, b=[2])

    both = branches({"one": one, "two": two}, into="x", name="both")
    outcome = run_in_memory(
        Workflow("w", state=State, start=both, routes={}), {"b": [2], "c": 3}
    )
    assert outcome.state.get("x") == {"one": {"at": 1}, "two": {"a": 1}}


def test_branches_run_at_the_same_time() -> None:
    barrier = threading.Barrier(2)
    meeting: list[asyncio.Event] = []
    began = asyncio.Event()

    @node
    def left(state: Case) -> int:
        return barrier.wait(timeout=30)

    @node
    def right(state: Case) -> int:
        return barrier.wait(timeout=30)

    @node
    async def waits(state: Case) -> int:
        meeting.append(asyncio.Event())
        began.set()
        await meeting[0].wait()
        return 1

    @node
    async def wakes(state: Case) -> int:
        await began.wait()
        meeting[0].set()
        return 1

    class Wide(State):
        x: dict[str, int] = Field(default_factory=dict)

    given = {"a": left, "b": right, "c": waits, "d": wakes}
    both = branches(given, into="x", name="both")
    outcome = run_in_memory(Workflow("w", state=Wide, start=both, routes={}))
    assert sorted(outcome.state.x) == ["a", "b", "c", "d"]


def test_each_step_has_a_key_retries_and_a_timeout_of_its_own() -> None:
    keys: list[str] = []

    @node(retry=Retry(attempts=3, wait=0))
    def shaky(state: Case, runtime: Runtime) -> str:
        keys.append(runtime.key)
        if len(keys) < 3:
            raise OSError("again")
        return "ok"

    @node(timeout=0.01)
    async def slow(state: Case) -> Case:
        await asyncio.Event().wait()
        return state

    both = branches({"category": shaky, "summary": slow}, "parts", need=1, name="both")
    outcome = run_in_memory(case_of(both), runtime=FakeRuntime())
    assert (outcome.status, outcome.state.parts) == ("completed", Parts(category="ok"))
    assert keys == ["run-in-memory/shaky/1"] * 3
    tries = {stage.node: stage.tries for stage in outcome.stages}
    assert tries == {"shaky": 3, "slow": 1, "both": 1, "finish": 1}


# The discriminator ------------------------------------------------------------------------


def first_of(gate: Gate, **options: Any) -> Any:
    return branches(
        {"category": classify, "summary": [gate.node(), finish]},
        into="parts",
        need=1,
        name="first",
        **options,
    )


def test_with_need_the_rest_is_cancelled_and_a_decision_names_the_first_branch() -> (
    None
):
    gate = Gate()

    @node
    async def after_gate(state: Case) -> str:
        await gate.entered.wait()
        return "first"

    @node
    def last(state: Case) -> Case:
        raise AssertionError("a cancelled branch goes on")

    first = branches(
        {"category": after_gate, "summary": [gate.node(), last]},
        into="parts",
        need=1,
        name="first",
    )
    outcome = run_in_memory(case_of(first))
    assert outcome.state.parts == Parts(category="first")
    assert gate.interrupted
    assert [(s.node, s.status) for s in outcome.stages] == [
        ("after_gate", "completed"),
        ("gate", "cancelled"),
        ("first", "completed"),
        ("finish", "completed"),
    ]
    assert "category finished first" in outcome.stages[1].error
    verdicts = [(d.source, d.target, d.result, d.reason) for d in outcome.decisions]
    assert verdicts == [
        ("after_gate", "first", True, "“category” was first, 1 of 2 is needed"),
        (
            "last",
            "first",
            False,
            "“summary” was cancelled, “category” finished first, 1 of 2 is needed",
        ),
        ("first", "finish", True, "always"),
    ]


def test_a_failed_branch_does_not_fail_the_join_while_enough_are_left() -> None:
    @node
    def breaks(state: Case) -> str:
        raise ValueError("no")

    @node
    async def slower(state: Case) -> Case:
        await asyncio.sleep(0.01)
        return state.set(text="x")

    both = branches({"category": breaks, "summary": slower}, "parts", need=1, name="b")
    outcome = run_in_memory(case_of(both))
    assert outcome.status == "completed"
    assert outcome.state.parts == Parts(summary={"text": "x"})
    reasons = [d.reason for d in outcome.decisions if d.source == "breaks"]
    assert reasons == ["“category” failed, “summary” finished first, 1 of 2 is needed"]


# Failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        SystemExit(3),
        KeyboardInterrupt(),
        Failed("no"),
        Paused("approval"),
        asyncio.CancelledError(),
    ],
)
def test_any_error_of_a_branch_fails_the_join_and_stops_the_others(
    error: BaseException,
) -> None:
    gate = Gate()

    @node
    async def breaks(state: Case) -> str:
        await gate.entered.wait()
        raise error

    both = branches({"category": breaks, "summary": gate.node()}, "parts", name="both")
    outcome = run_in_memory(case_of(both))
    assert (outcome.status, gate.interrupted) == ("failed", True)
    assert outcome.error is not None
    assert outcome.error.node == "both"
    assert isinstance(outcome.error.__cause__, BranchesFailed)
    assert "1 of 2 branches failed: “category”: " in str(outcome.error)
    statuses = {stage.node: stage.status for stage in outcome.stages}
    assert statuses == {"breaks": "failed", "gate": "cancelled", "both": "failed"}


def test_the_failure_route_of_the_node_takes_the_failure_of_a_branch() -> None:
    @node
    def breaks(state: Case) -> str:
        raise OSError("no network")

    @node
    def repair(state: Case) -> Case:
        assert state.failure is not None
        return state.set(text=state.failure.message)

    both = branches({"category": breaks, "summary": summarise}, "parts", name="both")
    workflow = Workflow(
        "w",
        state=Case,
        start=both,
        routes={both: [when_failed(repair, on=OSError), otherwise(finish)]},
    )
    outcome = run_in_memory(workflow)
    assert (outcome.status, outcome.path[-1]) == ("completed", "repair")
    assert "no network" in outcome.state.text
    assert outcome.stages[-1].sequence == 4


def test_a_timeout_of_a_step_is_a_failure_that_a_route_may_name() -> None:
    @node(timeout=0.01)
    async def slow(state: Case) -> Case:
        await asyncio.Event().wait()
        return state

    both = branches({"category": classify, "summary": slow}, "parts", name="both")
    workflow = Workflow(
        "w",
        state=Case,
        start=both,
        routes={both: [when_failed(finish, on=NodeTimedOut), otherwise(finish)]},
    )
    assert run_in_memory(workflow).status == "completed"


@pytest.mark.parametrize("result", [object(), State(a=1), lambda: 3])
def test_a_result_that_cannot_be_stored_fails_its_step(result: Any) -> None:
    @node
    def odd(state: Case) -> Any:
        return result

    both = branches({"category": odd}, "parts", name="both")
    outcome = run_in_memory(case_of(both))
    assert outcome.status == "failed"
    assert outcome.stages[0].status == "failed"


def test_a_node_within_a_branch_returns_a_state() -> None:
    @node
    def odd(state: Case) -> Any:
        return 3

    both = branches({"category": [odd, classify]}, "parts", name="both")
    outcome = run_in_memory(case_of(both))
    assert "It returned int" in str(outcome.error)


def test_a_result_that_the_field_does_not_accept_fails_the_join() -> None:
    @node
    def odd(state: Case) -> Any:
        return "much"

    outcome = run_in_memory(case_of(branches({"risk": odd}, "parts", name="both")))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.node == "both"


def test_a_cancelled_run_interrupts_every_branch() -> None:
    one, two, cancellation = Gate("one"), Gate("two"), Cancellation()

    @node
    async def cancel(state: Case) -> Case:
        await one.entered.wait()
        await two.entered.wait()
        cancellation.cancel("enough")
        await asyncio.Event().wait()
        return state

    both = branches(
        {"category": one.node(), "summary": two.node(), "risk": cancel},
        into="parts",
        name="both",
    )
    open_case = Workflow("w", state=State, start=both, routes={})
    outcome = run_in_memory(open_case, cancellation=cancellation)
    assert (outcome.status, one.interrupted, two.interrupted) == (
        "cancelled",
        True,
        True,
    )
    assert {stage.status for stage in outcome.stages} == {"cancelled"}


def test_a_deadline_ends_the_branches() -> None:
    gate = Gate()
    both = branches({"category": classify, "summary": gate.node()}, "x", name="both")
    workflow = Workflow("w", state=State, start=both, routes={})
    outcome = run_in_memory(workflow, {"text": "a"}, deadline=0.05)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error.is_deadline, gate.interrupted) == (True, True)


# What is kept -----------------------------------------------------------------------------


class Counted:
    """Nodes that count their calls, and fail while their names are in `failing`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: set[str] = set()

    def node(self, name: str, result: Any = None) -> Any:
        @node(name=name)
        async def run(state: State, runtime: Runtime) -> Any:
            self.calls.append(f"{name} {sorted(state)}")
            if name in self.failing:
                raise ValueError(name)
            return state.set(name, True) if result is None else result

        return run


async def test_a_finished_step_never_runs_again_when_the_run_is_resumed() -> None:
    runs, counted = Runs(), Counted()
    both = branches(
        {
            "a": [counted.node("a1"), counted.node("a2", result=7)],
            "b": [counted.node("b1"), counted.node("b2")],
        },
        into="x",
        name="both",
    )
    graph = runs.line(both, counted.node("end"))
    counted.failing = {"b2"}
    with pytest.raises(ExecutionError):
        await graph.execute(start(), runtime=FakeRuntime())
    assert sorted(counted.calls) == ["a1 []", "a2 ['a1']", "b1 []", "b2 ['b1']"]
    counted.failing = set()
    state = await graph.resume("r1", runtime=FakeRuntime())
    assert counted.calls[4:] == ["b2 ['b1']", "end ['x']"]
    assert state.get("x") == {"a": 7, "b": {"b1": True, "b2": True}}
    assert state.sequence == 6


async def test_the_branch_that_was_first_before_a_crash_stays_the_first() -> None:
    runs, counted = Runs(), Counted()
    both = branches(
        {
            "a": counted.node("a1"),
            "b": counted.node("b1", result=1),
            "c": [counted.node("c1", result=2)],
        },
        into="x",
        need=2,
        name="both",
    )
    counted.failing = {"a1", "c1"}
    graph = runs.line(both, counted.node("end"))
    with pytest.raises(ExecutionError):
        await graph.execute(start(), runtime=FakeRuntime())
    counted.failing = {"a1"}
    state = await graph.resume("r1", runtime=FakeRuntime())
    assert state.get("x") == {"b": 1, "c": 2}
    reasons = [data["reason"] for data in runs.listener.data("edge.evaluate")]
    assert reasons == [
        "“b” was first, 2 of 3 are needed",
        "“c” was second, 2 of 3 are needed",
        "“a” failed, “b”, “c” finished first, 2 of 3 are needed",
        "always",
    ]


async def test_a_pattern_in_a_branch_keeps_its_items_under_its_own_step() -> None:
    runs, done = Runs(), []
    fails = [True]

    @node
    async def double(item: int) -> int:
        if item == 2 and fails:
            raise ValueError("not yet")
        done.append(item)
        return 2 * item

    many = parallel(double, over="items", into="doubled", limit=1, name="many")
    both = branches({"a": many, "b": Counted().node("b")}, "x", name="both")
    graph = runs.line(both, Counted().node("end"))
    with pytest.raises(ExecutionError):
        await graph.execute(start(items=[1, 2]), runtime=FakeRuntime())
    fails.clear()
    state = await graph.resume("r1", runtime=FakeRuntime())
    assert done == [1, 2]
    assert state.get("x") == {"a": {"doubled": [2, 4]}, "b": {"b": True}}


def test_a_loop_may_pass_the_branches_again_with_new_numbers() -> None:
    both = all_three()
    workflow = Workflow(
        "loop",
        state=Case,
        start=both,
        routes={
            both: [
                when(lambda s: s.text == "abc", again := shorten),
                otherwise(finish),
            ],
            again: both,
        },
    )
    outcome = run_in_memory(workflow, runtime=FakeRuntime())
    assert [s.sequence for s in outcome.stages if s.node == "both"] == [5, 11]
    assert outcome.state.parts == Parts(category="AB", summary={"text": "a"}, risk=0.5)


@node
def shorten(state: Case) -> Case:
    return state.set(text="ab")


def test_the_completed_steps_of_branches_are_undone_with_the_state_in_their_branch() -> (
    None
):
    undone: list[tuple[str, int]] = []

    @node
    def uncount(state: Case) -> Case:
        undone.append((state.text, state.words))
        return state

    @node(undo=uncount)
    def count(state: Case) -> Case:
        return state.set(words=5)

    @node
    def fails(state: Case) -> Case:
        raise ValueError("no")

    both = branches(
        {"summary": [count, fails], "category": classify}, "parts", name="both"
    )
    outcome = run_in_memory(case_of(both))
    assert (outcome.undone, undone) == ("1 of 1 undone", [("abc", 5)])
    last = outcome.stages[-1]
    assert (last.sequence, last.kind, last.undoes) == (5, "undo", 1)
