"""Edges that are followed when a step fails."""

from __future__ import annotations

import asyncio
import pickle
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from tests.engine.parts import Flaky, Runs, sets, start
from workflows.engine import (
    Answer,
    Cancellation,
    DeadlinePassed,
    DefinitionError,
    ExecutionError,
    Failure,
    Graph,
    NodeTimedOut,
    Retry,
    State,
    Workflow,
    approval,
    node,
    otherwise,
    parallel,
    subworkflow,
    when,
    when_failed,
)
from workflows.engine.predicates import FailurePredicate
from workflows.engine.testing import Outcome, run_in_memory


class Refused(Exception):
    """The payment was refused."""


class CardRefused(Refused):
    """The card was refused."""


class Trip(State):
    error: str = ""
    seats: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


ERRORS: dict[str, Exception] = {
    "card": CardRefused("no cover"),
    "disk": OSError("disk is full"),
    "key": KeyError("seat"),
}


@node(retry=Retry(attempts=2, wait=0, never=Refused))
def book(state: Trip) -> Trip:
    if state.error == "caused":
        raise ValueError("not booked") from ERRORS["card"]
    if state.error:
        raise ERRORS[state.error]
    return state.append("seats", "4A")


@node
def refund(state: Trip) -> Trip:
    assert state.failure is not None
    return state.append("texts", f"refunded: {state.failure.message}")


@node
def ask(state: Trip) -> Trip:
    return state


@node
def ship(state: Trip) -> Trip:
    assert state.failure is None
    return state.append("texts", "shipped")


def is_full(failure: Failure) -> bool:
    return "full" in failure.message


trip = Workflow(
    "trip",
    state=Trip,
    start=book,
    routes={
        book: [
            when_failed(refund, on=Refused),
            otherwise(ship),
            when_failed(ask, on=is_full),
        ],
        refund: ship,
    },
)


def decisions(outcome: Outcome[Any]) -> list[tuple[str, bool, str]]:
    return [(one.target, one.result, one.explanation) for one in outcome.decisions]


def test_the_first_edge_whose_errors_match_is_followed_with_a_reason() -> None:
    outcome = run_in_memory(trip, {"error": "disk"})
    assert outcome.path == ["ask"]
    failed = "“book” failed with OSError after 2 attempts: disk is full"
    assert decisions(outcome) == [
        ("refund", False, f"condition not met: {failed}; this is no Refused"),
        (
            "ask",
            True,
            f"condition met: {failed}; failed, and is_full is true",
        ),
    ]
    assert [one.index for one in outcome.decisions] == [0, 2]
    assert outcome.decisions[0].values["failure"]["type"] == "OSError"
    assert [(s.node, s.sequence, s.status) for s in outcome.stages] == [
        ("book", 1, "failed"),
        ("ask", 2, "completed"),
    ]


@pytest.mark.parametrize(
    ("error", "text", "tries"),
    [("card", "no cover", 1), ("caused", "not booked", 2)],
)
def test_the_route_gets_the_nodes_input_and_the_failure_until_a_node_succeeds(
    error: str, text: str, tries: int
) -> None:
    outcome = run_in_memory(trip, {"error": error})
    assert outcome.path == ["refund", "ship"]
    assert outcome.state.texts == (f"refunded: {text}", "shipped")
    assert outcome.state.seats == ()
    assert outcome.state.failure is None
    failure = outcome.decisions[0].values["failure"]
    assert (failure["node"], failure["tries"]) == ("book", tries)


def test_a_step_that_succeeds_evaluates_no_failure_edge() -> None:
    outcome = run_in_memory(trip)
    assert outcome.path == ["book", "ship"]
    assert decisions(outcome) == [("ship", True, "unconditional")]


def test_without_a_match_the_run_fails_and_the_node_runs_again_on_resume() -> None:
    outcome = run_in_memory(trip, {"error": "key"})
    assert (outcome.status, outcome.path) == ("failed", [])
    assert str(outcome.error) == "At “book”: the node failed: 'seat'"
    assert [taken for _, taken, _ in decisions(outcome)] == [False, False]
    assert outcome.state.sequence == 0


class Reply(BaseModel):
    text: str


class Many(State):
    items: tuple[int, ...] = (1, 2)
    out: tuple[int, ...] = ()
    reply: Reply | None = None
    kind: str = ""


def fails(item: int) -> int:
    raise Refused(str(item))


@node(timeout=0.01)
async def slow(state: Many) -> Many:
    await asyncio.sleep(60)
    return state


@node
def keep_kind(state: Many) -> Many:
    assert state.failure is not None
    return state.set(kind=state.failure.type)


@node
def done(state: Many) -> Many:
    return state


@pytest.mark.parametrize(
    ("first", "answers", "on", "kind"),
    [
        (slow, {}, NodeTimedOut, "NodeTimedOut"),
        (slow, {}, TimeoutError, "NodeTimedOut"),
        (parallel(fails, over="items", into="out", name="p"), {}, Refused, "Parallel"),
        (
            parallel(fails, over="items", into="out", fail_fast=False, name="p"),
            {},
            None,
            "ParallelError",
        ),
        (
            subworkflow("child", lambda _: {}, into="out", name="c"),
            {"c": Answer(error="it failed")},
            None,
            "SubworkflowFailed",
        ),
        (
            approval("?", Reply, "reply", within=timedelta(1), name="a"),
            {"a": Answer(expired=True)},
            Exception,
            "ApprovalExpired",
        ),
    ],
)
def test_every_error_of_a_node_is_a_failure(
    first: Any, answers: Any, on: Any, kind: str
) -> None:
    wanted = when_failed(keep_kind, on=on)
    workflow = Workflow(
        "many", state=Many, start=first, routes={first: [wanted, otherwise(done)]}
    )
    outcome = run_in_memory(workflow, answers=answers)
    assert outcome.status == "completed", outcome
    assert outcome.state.kind.startswith(kind)


def test_a_cancellation_is_no_failure() -> None:
    cancellation = Cancellation()

    @node
    async def stop(state: State) -> State:
        cancellation.cancel("enough")
        await asyncio.sleep(60)
        return state

    workflow = Workflow(
        "stop",
        state=State,
        start=stop,
        routes={stop: [when_failed(sets("a")), otherwise(sets("b"))]},
    )
    outcome = run_in_memory(workflow, cancellation=cancellation)
    assert (outcome.status, outcome.decisions) == ("cancelled", [])


async def test_a_resume_on_a_failure_route_reads_the_failure_and_repeats_no_step() -> (
    None
):
    runs, first, handler = Runs(), Flaky("a", 9, CardRefused), Flaky("b", 1)
    graph = runs.graph
    for name, each in (("a", first.node()), ("b", handler.node()), ("c", sets("c"))):
        graph.add_node(name, each)
    graph.add_edge("a", "b", FailurePredicate(Refused))
    graph.add_edge("a", "c")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.set_exit_point("c")
    with pytest.raises(ExecutionError, match="failure 1"):
        await graph.execute(start())
    stored = runs.store.load("r1")
    assert (stored.sequence, stored.checkpoint_node) == (1, "a")
    assert stored.step_failure is not None
    assert stored.step_failure.is_any((Refused,))
    runs.listener.events.clear()
    end = await graph.resume("r1")
    assert (first.runs, handler.runs, end.sequence) == (1, 2, 2)
    (evaluated,) = runs.listener.data("edge.evaluate")
    assert (evaluated["to"], evaluated["sequence"]) == ("b", 1)


def test_an_exit_with_a_failure_route_ends_the_run_when_it_succeeds() -> None:
    flaky = Flaky("pay", 0)
    pay, note = flaky.node(), sets("noted")
    workflow = Workflow(
        "pay", state=State, start=pay, routes={pay: [when_failed(note)]}
    )
    assert run_in_memory(workflow).path == ["pay"]
    flaky.failures = 2
    assert run_in_memory(workflow).path == ["noted"]


def test_a_deadline_takes_the_failure_route_of_the_step_and_is_over_then() -> None:
    @node
    async def wait_long(state: State) -> State:
        await asyncio.sleep(60)
        return state

    @node
    async def escalate(state: State) -> State:
        await asyncio.sleep(0)
        return state.set(late=state.failure.is_deadline if state.failure else None)

    workflow = Workflow(
        "late",
        state=State,
        start=wait_long,
        routes={
            wait_long: [when_failed(escalate, on=DeadlinePassed), otherwise(sets("x"))]
        },
    )
    outcome = run_in_memory(workflow, deadline=0.01)
    assert (outcome.status, outcome.path) == ("completed", ["escalate"])
    assert outcome.state["late"] is True


async def test_a_step_that_would_start_after_the_deadline_fails_before_its_code() -> (
    None
):
    runs, called = Runs(), Flaky("b", 0)

    @node(name="a")
    def take_time(state: State) -> State:
        runs.clock.move(timedelta(seconds=20))
        return state

    graph = runs.graph
    for name, each in (("a", take_time), ("b", called.node()), ("c", sets("c"))):
        graph.add_node(name, each)
    graph.add_edge("a", "b")
    graph.add_edge("b", "c", FailurePredicate())
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    graph.set_exit_point("c")
    end = await graph.execute(start(), deadline=10)
    assert (end["c"], called.runs) == (True, 0)


def test_a_failing_test_of_the_failure_fails_the_run_at_that_edge() -> None:
    def is_odd(failure: Failure) -> bool:
        raise LookupError("no such failure")

    first = Flaky("a", 9).node()
    workflow = Workflow(
        "w", state=State, start=first, routes={first: [when_failed(sets("b"), is_odd)]}
    )
    outcome = run_in_memory(workflow)
    assert outcome.error is not None
    assert outcome.error.code == "predicate_failed"
    assert "no such failure" in str(outcome.error)


@pytest.mark.parametrize(
    ("branches", "dead"),
    [
        (lambda a, b: [when_failed(a), when_failed(b, on=Refused)], "b"),
        (lambda a, b: [when_failed(a, on=Refused), when_failed(b, CardRefused)], "b"),
        (lambda a, b: [when_failed(a, is_full), when_failed(b, is_full)], ""),
        (lambda a, b: [when_failed(a, Exception), when_failed(b)], ""),
        (lambda a, b: [when_failed(a), otherwise(b)], ""),
        (lambda a, b: [when(lambda _: True, a), when_failed(a), otherwise(b)], ""),
    ],
    ids=["all", "subclass", "function", "deadline", "success", "condition"],
)
def test_a_failure_edge_that_is_never_taken_is_a_mistake(
    branches: Any, dead: str
) -> None:
    source, routes = sets("source"), branches(sets("a"), sets("b"))
    if not dead:
        Workflow("w", state=State, start=source, routes={source: routes})
        return
    with pytest.raises(DefinitionError, match=f"to “{dead}” is never taken") as caught:
        Workflow("w", state=State, start=source, routes={source: routes})
    assert caught.value.code == "check.dead_edge"


@pytest.mark.parametrize("on", [(), "Refused", (Refused, 3), int])
def test_only_errors_or_a_function_can_be_routed(on: Any) -> None:
    with pytest.raises(DefinitionError, match="names no errors"):
        when_failed(sets("a"), on=on)


def test_failure_edges_are_part_of_the_fingerprint_and_of_the_differences() -> None:
    def make(*more: Any) -> Workflow[Any]:
        first = sets("first")
        routes = {first: [otherwise(sets("last")), *more]}
        return Workflow("w", state=State, start=first, routes=routes)

    plain, routed = make(), make(when_failed(sets("last_2"), on=Refused))
    assert plain.fingerprint == "0e408a89d0def653", "as before failure routes existed"
    assert routed.fingerprint != plain.fingerprint
    assert (
        "“first” led to “last” and leads to “last”, else to “last_2” if it failed with"
        " Refused now" in routed.differences(plain.shape)
    )
    assert "on_failure" not in plain.drawn["edges"][0]
    assert type(plain.shape).from_json(routed.drawn) == routed.shape


def test_a_state_may_have_a_field_of_its_own_named_failure() -> None:
    class Own(State):
        failure: str = "none"  # type: ignore[assignment]

    @node
    def read(state: Own) -> Own:
        assert state.step_failure is not None
        return state.set(failure=f"{state.failure}, {state.step_failure.type}")

    first = Flaky("a", 9).node()
    workflow = Workflow(
        "w", state=Own, start=first, routes={first: [when_failed(read)]}
    )
    assert run_in_memory(workflow).state.failure == "none, ValueError"
    assert State(failure=3).failure == 3  # type: ignore[comparison-overlap]


def test_errors_with_hostile_classes_can_be_routed() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise SystemExit(name)

    class Hostile(Exception, metaclass=Meta):
        def __str__(self) -> str:
            raise SystemExit("no text")

    @node(name="a")
    def first(state: State) -> State:
        raise Hostile

    @node(name="b")
    def second(state: State) -> State:
        assert state.failure is not None
        return state.set(type=state.failure.type, text=state.failure.message)

    workflow = Workflow(
        "w", state=State, start=first, routes={first: [when_failed(second, Exception)]}
    )
    outcome = run_in_memory(workflow)
    assert outcome.status == "completed", outcome
    assert outcome.state["type"] == "Hostile"


def test_a_failure_survives_storage_and_a_child_process() -> None:
    state = State(a=1).stamped(
        run_id="r",
        failure=Failure.of(
            ValueError("x\0\ud800"), "n", 2, run_in_memory(trip).events[0].timestamp
        ),
    )
    assert state.failure is not None
    assert state.failure.message == "x\ufffd?"
    again = pickle.loads(pickle.dumps(state))  # noqa: S301 - pickled here
    assert again.failure == state.failure
    assert State.from_json(state.to_json()).failure == state.failure
    assert Failure.from_json(state.failure.to_json()) == state.failure


def test_next_evaluates_the_failure_route_of_a_state_with_a_failure() -> None:
    failure = Failure("book", "Refused", "no", 1, None, (f"{__name__}.Refused",))  # type: ignore[arg-type]
    graph: Graph = trip.graph
    state = Trip().stamped(failure=failure)
    with_failure = FailurePredicate(Refused)(state)
    assert with_failure
    assert graph.next(book, Trip())[0] is ship
