"""The execution of a graph from the entry point to an exit."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import logging
import sys
import threading
from typing import Any

import pytest
from pydantic import Field

from tests.engine.parts import Flaky, Runs, sets, start
from workflows.engine import (
    Event,
    ExecutionError,
    Failed,
    Graph,
    NodeContext,
    State,
    key,
    node,
    predicate,
)
from workflows.engine.errors import NotSerialisable, PredicateFailed, Superseded

where = contextvars.ContextVar("where", default="nowhere")


async def failure_of(graph: Graph, state: State | None = None) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        await graph.execute(state or start())
    return caught.value


async def test_every_step_gets_the_next_number_and_the_time() -> None:
    runs = Runs()
    end = await runs.line(sets("a"), sets("b"), sets("c")).execute(start())
    assert (end.sequence, end.checkpoint_node) == (3, "c")
    assert end.timestamp == runs.clock.now()
    numbers = [data["sequence"] for data in runs.listener.data("node.start")]
    assert numbers == [1, 2, 3]
    assert [data["sequence"] for data in runs.listener.data("edge.evaluate")] == [1, 2]


async def test_a_run_without_an_id_gets_one() -> None:
    end = await Runs().line(sets("a")).execute(State())
    assert len(end.run_id) == 36


async def test_snapshots_are_the_data_of_the_state() -> None:
    runs = Runs()
    begin = start(big=["x"])
    await runs.line(sets("a")).execute(begin)
    assert runs.listener.data("node.start")[0]["input_snapshot"] is begin.data


async def test_sync_nodes_run_in_parallel_threads_with_the_context_of_the_caller() -> (
    None
):
    both = threading.Barrier(2, timeout=10)
    seen: list[str] = []

    @node
    def meet(state: State) -> State:
        both.wait()
        seen.append(
            f"{where.get()} {threading.current_thread() is threading.main_thread()}"
        )
        return state

    where.set("here")
    await asyncio.gather(
        Runs().line(meet).execute(start()), Runs().line(meet).execute(start())
    )
    assert seen == ["here False", "here False"]


async def test_the_runtime_parameter_of_a_node_is_optional() -> None:
    seen: list[object] = []

    def alone(state: State) -> State:
        return state

    def second(state: State, services: object) -> State:
        seen.append(services)
        return state

    async def optional(state: State, runtime: object = None) -> State:
        seen.append(runtime)
        return state

    def other_default(state: State, retries: int = 3) -> State:
        seen.append(retries)
        return state

    await (
        Runs()
        .line(alone, second, optional, other_default)
        .execute(start(), runtime="rt")
    )
    assert seen == ["rt", "rt", 3]


async def test_a_runtime_receives_the_position_if_it_declares_it() -> None:
    places: list[str] = []

    class Runtime:
        def at(self, context: NodeContext) -> str:
            return f"{context.key} {context.iteration} {context.try_number}"

    @node
    def read(state: State, runtime: str) -> State:
        places.append(runtime)
        return state

    await Runs().line(sets("a"), read).execute(start(), runtime=Runtime())
    assert places == ["r1/read/2 2 1"]


class Doer:
    async def __call__(self, state: State) -> State:
        return state.set(called=True)


async def test_an_object_whose_call_is_async_is_a_node_too() -> None:
    runs = Runs()
    runs.graph.add_node("a", Doer())
    runs.graph.set_entry_point("a")
    runs.graph.set_exit_point("a")
    assert (await runs.graph.execute(start()))["called"] is True


async def test_a_sync_node_may_return_an_awaitable() -> None:
    async def later(state: State) -> State:
        return state.set(late=True)

    runs = Runs()
    runs.graph.add_node("a", lambda state: later(state) if state else state)
    runs.graph.set_entry_point("a")
    runs.graph.set_exit_point("a")
    assert (await runs.graph.execute(start()))["late"] is True


def returns_nothing(state: State) -> None:
    return None


def returns_a_dict(state: State) -> dict[str, Any]:
    return {}


def raises_stop_iteration(state: State) -> State:
    raise StopIteration


def leaves_the_process(state: State) -> State:
    sys.exit(3)


async def leaves_the_process_async(state: State) -> State:
    sys.exit(3)


def recurses(state: State) -> State:
    return recurses(state)


async def cancels_itself(state: State) -> State:
    raise asyncio.CancelledError


def stores_an_object(state: State) -> State:
    return state.set(thing={"inner": [object()]})


@pytest.mark.parametrize(
    ("function", "reported"),
    [
        (returns_nothing, "It returned NoneType"),
        (returns_a_dict, "It returned dict"),
        (raises_stop_iteration, "StopIteration"),
        (leaves_the_process, "3"),
        (leaves_the_process_async, "3"),
        (recurses, "recursion"),
        (cancels_itself, "something that the node awaited was cancelled"),
        (stores_an_object, "thing.inner"),
    ],
)
async def test_any_exception_of_a_node_is_a_failure_of_that_node(
    function: Any, reported: str
) -> None:
    runs = Runs()
    error = await failure_of(runs.line(sets("a"), function, sets("c")))
    assert (error.code, error.node) == ("node_failed", function.__name__)
    assert reported in str(error)
    assert error.path == ("a", function.__name__)
    assert error.state is not None
    assert error.state.checkpoint_node == "a"
    assert not error.is_cancelled
    (complete,) = [d for d in runs.listener.data("node.complete") if d["error"]]
    assert reported in complete["error_message"]
    assert runs.store.load("r1").checkpoint_node == "a"


async def test_an_unserialisable_value_fails_the_stage_and_names_its_path_and_type() -> (
    None
):
    error = await failure_of(Runs().line(stores_an_object))
    assert isinstance(error.__cause__, NotSerialisable)
    assert error.__cause__.path.startswith("thing.inner")
    assert error.__cause__.type is object


async def test_a_failing_node_can_report_partial_progress() -> None:
    async def half_way(state: State) -> State:
        raise Failed("stuck", output=state.set(done=3))

    runs = Runs()
    error = await failure_of(runs.line(half_way))
    assert runs.listener.data("node.complete")[0]["output_snapshot"] == {"done": 3}
    assert error.state is not None
    assert dict(error.state.data) == {}


class Letter(State):
    text: str = ""


async def test_a_node_of_another_state_class_fails_with_both_names() -> None:
    async def forgets(state: Letter) -> State:
        return State(text="x")

    error = await failure_of(Runs().line(forgets), Letter().stamped(run_id="r1"))
    assert "It returned State, and a node of this run returns a Letter" in str(error)


async def test_a_newly_created_state_retains_the_run_and_its_secrets() -> None:
    async def anew(state: State) -> State:
        return State(new=True).stamped(run_id="elsewhere", sequence=99)

    async def reveal(state: State) -> State:
        return state.set(seen=state.secret("token"))

    runs = Runs()
    begin = start().set_secret("token", "s3cret")
    end = await runs.line(sets("a"), anew, reveal).execute(begin)
    assert (end.run_id, end.sequence, end.secret("token")) == ("r1", 3, "s3cret")
    assert dict(end.data) == {"new": True, "seen": "s3cret"}
    assert runs.store.list() == ["r1"]


async def test_secrets_are_in_no_event_and_no_stored_text() -> None:
    runs = Runs()
    await runs.line(sets("a"), sets("b")).execute(start().set_secret("token", "s3cret"))
    assert "s3cret" not in repr(runs.listener.events)
    assert "s3cret" not in runs.store.load("r1").to_json()


async def test_a_predicate_that_raises_fails_the_run_at_its_edge_and_is_recorded() -> (
    None
):
    @predicate
    def is_ready(state: State) -> bool:
        return bool(state["missing"])

    runs = Runs()
    graph = runs.branch(sets("a"), sets("b"), when=is_ready)
    error = await failure_of(graph)
    assert (error.code, error.node) == ("predicate_failed", "a")
    assert isinstance(error.__cause__, PredicateFailed)
    assert "is_ready" in str(error)
    assert "a → b" in str(error)
    (reported,) = runs.listener.data("edge.evaluate")
    assert reported["predicate_result"] is False
    assert "KeyError" in reported["reason"]
    assert runs.listener.types[-1] == "graph.error"


async def test_every_failed_attempt_ends_with_one_graph_error() -> None:
    runs = Runs()
    error = await failure_of(runs.line(sets("a"), Flaky("b", 1).node()))
    (reported,) = runs.listener.data("graph.error")
    assert reported == {
        "node": "b",
        "path": ["a", "b"],
        "code": "node_failed",
        "message": str(error),
    }
    assert runs.listener.types[-1] == "graph.error"


async def test_an_edge_reports_its_predicate_and_what_it_read() -> None:
    runs = Runs()
    graph = runs.branch(
        sets("score", 0.9), sets("high"), when=key("score").at_least(0.8)
    )
    await graph.execute(start(other=1))
    (reported,) = runs.listener.data("edge.evaluate")
    assert reported["predicate_name"] == "score at least 0.8"
    assert reported["values"] == {"score": 0.9}
    assert reported["reason"] == "score 0.90, needs at least 0.80"
    (taken,) = runs.listener.data("edge.transition")
    assert taken["predicate_name"] == "score at least 0.8"


async def test_a_named_edge_is_recorded_under_its_name() -> None:
    runs = Runs()
    graph = runs.branch(sets("a"), sets("b"), when=key("a").is_true(), name="onwards")
    await graph.execute(start())
    assert runs.listener.data("edge.transition")[0]["predicate_name"] == "onwards"


async def test_an_observer_that_raises_is_logged_and_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def on_event(self, event: Event) -> None:
            raise RuntimeError(f"no ink for {event.type}")

    graph = Graph("g", observer=Broken())
    graph.add_node("a", sets("a"))
    graph.set_entry_point("a")
    graph.set_exit_point("a")
    with caplog.at_level(logging.ERROR):
        assert (await graph.execute(start()))["a"] is True
    assert "no ink" in caplog.text


async def test_a_superseded_attempt_stops_without_an_event() -> None:
    class Durable:
        def on_event(self, event: Event) -> None:
            if event.type == "node.complete":
                raise Superseded

    graph = Graph("g", observer=Durable())
    graph.add_node("a", sets("a"))
    graph.set_entry_point("a")
    graph.set_exit_point("a")
    with pytest.raises(Superseded):
        await graph.execute(start())


async def test_no_event_is_built_when_no_one_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[object] = []
    monkeypatch.setattr(
        importlib.import_module("workflows.engine.observers"),
        "Event",
        lambda *args: built.append(args),
    )
    graph = Graph("g")
    graph.add_node("a", sets("a"))
    graph.add_node("b", sets("b"))
    graph.add_edge("a", "b", key("a").is_true())
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    await graph.execute(start())
    assert built == []


async def test_a_missing_route_names_the_node() -> None:
    runs = Runs()
    graph = runs.graph
    graph.add_node("a", sets("a"))
    graph.add_node("b", sets("b"))
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    error = await failure_of(graph)
    assert (error.code, error.node) == ("dead_end", "a")
    graph.add_edge("a", "b", key("a").is_false())
    error = await failure_of(graph)
    assert (error.code, error.path) == ("no_transition", ("a",))
    assert error.state is not None
    assert error.state["a"] is True


async def test_a_loop_without_an_end_stops_at_the_limit() -> None:
    runs = Runs(max_iterations=3)
    runs.graph.add_node("a", sets("a"))
    runs.graph.add_node("b", sets("b"))
    runs.graph.add_edge("a", "a")
    runs.graph.set_entry_point("a")
    runs.graph.set_exit_point("b")
    error = await failure_of(runs.graph)
    assert (error.code, error.path) == ("max_iterations", ("a", "a", "a"))
    assert "(3)" in str(error)
    assert [d["visit_count"] for d in runs.listener.data("cycle.detected")] == [2, 3]


async def test_a_sync_wrapper_around_an_async_node_works() -> None:
    async def inner(state: State) -> State:
        return state.set(inner=True)

    @functools.wraps(inner)
    def outer(state: State) -> State:
        return asyncio.run(inner(state))

    assert (await Runs().line(outer).execute(start()))["inner"] is True


class Cart(State):
    items: list[str] = Field(default_factory=list)


async def test_changes_in_place_of_a_failed_node_are_not_in_the_state_of_the_error() -> (
    None
):
    async def takes(state: Cart) -> Cart:
        state.items.append("stolen")
        raise ValueError("caught")

    error = await failure_of(
        Runs().line(takes), Cart(items=["apple"]).stamped(run_id="r1")
    )
    assert isinstance(error.state, Cart)
    assert error.state.items == ["apple"]


async def test_changes_in_place_of_a_node_are_not_in_its_returned_state() -> None:
    async def takes(state: Cart) -> Cart:
        state.items.append("stolen")
        return state

    end = await Runs().line(takes).execute(Cart(items=["apple"]))
    assert end.items == ["apple"]
