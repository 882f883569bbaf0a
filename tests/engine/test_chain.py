"""Chain: items are folded into a value, outside of graphs and as a node."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.parts import Gate, Listener, Runs, start
from workflows.engine import (
    Cancellation,
    ChainConfig,
    ConfigurationError,
    ExecutionError,
    NodeContext,
    Retry,
    State,
    chain,
)
from workflows.engine.errors import ChainError
from workflows.engine.patterns import fold


async def add(total: int, item: int) -> int:
    """The sum."""
    return total + item


async def test_items_are_folded_in_order_with_progress() -> None:
    progress: list[tuple[int, int, str]] = []

    def join(text: str, item: str) -> str:
        return text + item

    result = await fold("abc", ">", join, lambda *reported: progress.append(reported))
    assert (result.final, result.steps, result.intermediates) == (">abc", 3, None)
    assert progress == [(1, 3, ">a"), (2, 3, ">ab"), (3, 3, ">abc")]


async def test_intermediates_are_the_initial_value_and_one_for_each_step() -> None:
    config = ChainConfig(capture_intermediate_states=True)
    result = await fold([1, 2, 3], 0, add, config=config)
    assert result.intermediates == (0, 1, 3, 6)


async def test_an_empty_list_returns_the_initial_value() -> None:
    listener = Listener()
    result = await fold([], 7, add, observer=listener)
    assert (result.final, result.steps) == (7, 0)
    assert listener.types == ["chain.start", "chain.complete"]


async def test_a_failed_chain_reports_the_step_and_what_had_finished() -> None:
    async def halve(value: float, item: int) -> float:
        return value / item

    config = ChainConfig(capture_intermediate_states=True)
    with pytest.raises(ChainError, match="step 3") as caught:
        await fold([2, 4, 0, 8], 80.0, halve, config=config)
    error = caught.value
    assert (error.code, error.step_index, error.item, error.state) == (
        "chain.processor",
        2,
        0,
        10.0,
    )
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert (error.result.steps, error.result.final) == (2, 10.0)
    assert error.result.intermediates == (80.0, 40.0, 10.0)


async def test_cancellation_is_checked_before_each_step_only() -> None:
    cancellation = Cancellation()

    async def cancelling(total: int, item: int) -> int:
        if item == 2:
            cancellation.cancel()
        return total + item

    with pytest.raises(ChainError) as caught:
        await fold([1, 2, 3], 0, cancelling, cancellation=cancellation)
    assert (caught.value.code, caught.value.step_index, caught.value.state) == (
        "chain.cancelled",
        2,
        3,
    )
    # cancelled in the last step: no further check follows
    assert (await fold([1, 2], 0, cancelling, cancellation=Cancellation())).final == 3


async def test_an_unknown_observer_is_refused_before_any_event() -> None:
    listener = Listener()
    with pytest.raises(ConfigurationError, match="nobody"):
        await fold(
            [1], 0, add, config=ChainConfig(observer="nobody"), observer=listener
        )
    assert listener.events == []


async def test_a_chain_node_folds_its_state_over_a_field() -> None:
    runs = Runs()

    async def mark(state: State, item: str) -> State:
        return state.append("seen", item)

    node = chain(mark, over="todo", name="chain")
    end = await runs.line(node).execute(start(todo=["a", "b"]))
    assert end["seen"] == ["a", "b"]
    assert runs.graph.describe().nodes[0].kind == "chain"
    reported = runs.listener.data("step.complete")
    assert [(data["node"], data["sequence"]) for data in reported] == [
        ("chain", 1),
        ("chain", 1),
    ]
    assert {event.source for event in runs.listener.events} == {"g"}


async def test_a_step_of_a_chain_can_take_the_runtime_and_be_sync() -> None:
    class Runtime:
        def at(self, context: NodeContext) -> str:
            return context.key

    def mark(state: State, item: str, runtime: str) -> State:
        return state.set(item, runtime)

    node = chain(mark, over=lambda state: state["todo"], name="chain")
    end = await Runs().line(node).execute(start(todo=["a"]), runtime=Runtime())
    assert end["a"] == "r1/chain/1"


async def test_a_failed_chain_node_leaves_the_state_as_it_was() -> None:
    runs = Runs()

    async def break_at_b(state: State, item: str) -> State:
        if item == "b":
            raise ValueError("not b")
        return state.append("seen", item)

    node = chain(break_at_b, over="todo", name="chain")
    with pytest.raises(ExecutionError, match="not b") as caught:
        await runs.line(node).execute(start(todo=["a", "b"]))
    assert (caught.value.code, type(caught.value.__cause__)) == (
        "node_failed",
        ChainError,
    )
    assert caught.value.state is not None
    assert "seen" not in caught.value.state
    assert runs.listener.data("node.complete")[0]["output_snapshot"] == {
        "todo": ["a", "b"]
    }


async def test_a_chain_node_is_interrupted_where_its_step_awaits() -> None:
    runs, gate, cancellation = Runs(), Gate(), Cancellation()

    async def wait(state: State, item: str) -> State:
        gate.entered.set()
        await gate.opened.wait()
        return state

    graph = runs.line(chain(wait, over="todo", name="chain"))
    run = asyncio.create_task(
        graph.execute(start(todo=["a"]), cancellation=cancellation)
    )
    await gate.entered.wait()
    cancellation.cancel()
    with pytest.raises(ExecutionError) as caught:
        await run
    assert caught.value.is_cancelled
    assert runs.listener.data("chain.complete")[0]["error_type"] == "cancellation"


async def test_a_chain_node_is_retried_as_a_whole() -> None:
    runs = Runs()
    failures = ["once"]

    async def fail_once(state: State, item: str) -> State:
        if item == "b" and failures:
            raise ValueError(failures.pop())
        return state.append("seen", item)

    node = chain(fail_once, over="todo", name="chain", retry=Retry(attempts=2))
    end = await runs.line(node).execute(start(todo=["a", "b"]))
    assert end["seen"] == ["a", "b"]


@pytest.mark.parametrize("todo", [3, None, "text", {"a": 1}])
async def test_what_is_no_list_of_items_is_refused_by_name(todo: Any) -> None:
    async def mark(state: State, item: str) -> State:
        return state

    node = chain(mark, over="todo", name="chain")
    with pytest.raises(ExecutionError, match="Node “chain” works on the field “todo”"):
        await Runs().line(node).execute(start(todo=todo))
