"""Conditional: a handler is chosen by name, outside of graphs and as a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.parts import Listener, Runs, start
from workflows.engine import (
    Cancellation,
    ConditionalConfig,
    ExecutionError,
    State,
    conditional,
)
from workflows.engine.errors import ConditionalError
from workflows.engine.patterns import route


def by_kind(state: State) -> str:
    """Read the route from the state."""
    return str(state["kind"])


async def shout(state: State) -> State:
    return state.set(text="HELLO")


def whisper(state: State, runtime: object) -> State:
    return state.set(text=f"hello {runtime}")


HANDLERS: dict[str, Callable[..., Any]] = {"loud": shout, "soft": whisper}


async def test_the_named_handler_returns_the_next_state() -> None:
    listener = Listener()
    end = await route(State(kind="loud"), by_kind, HANDLERS, observer=listener)
    assert end["text"] == "HELLO"
    assert listener.types == ["route.evaluate", "route.select", "route.execute"]


async def test_an_unknown_route_selects_the_default_with_an_event() -> None:
    listener = Listener()
    end = await route(State(kind="odd"), by_kind, HANDLERS, shout, observer=listener)
    assert end["text"] == "HELLO"
    assert listener.data("route.select") == [{"route": "default", "has_default": True}]


async def test_an_unknown_route_without_a_default_is_an_error_with_the_state() -> None:
    with pytest.raises(ConditionalError, match="“odd”") as caught:
        await route(State(kind="odd"), by_kind, HANDLERS)
    assert (caught.value.code, caught.value.route) == (
        "conditional.unknown_route",
        "odd",
    )
    assert caught.value.state == State(kind="odd")


async def test_a_choice_that_fails_emits_no_further_event() -> None:
    listener = Listener()
    with pytest.raises(ConditionalError) as caught:
        await route(State(), by_kind, HANDLERS, observer=listener)
    assert caught.value.code == "conditional.predicate"
    assert isinstance(caught.value.__cause__, KeyError)
    assert listener.types == ["route.evaluate"]


async def test_a_handler_that_fails_is_selected_but_not_executed() -> None:
    async def broken(state: State) -> State:
        raise ValueError("broke")

    listener = Listener()
    with pytest.raises(ConditionalError, match="broke") as caught:
        await route(State(kind="b"), by_kind, {"b": broken}, observer=listener)
    assert (caught.value.code, caught.value.route) == ("conditional.handler", "b")
    assert listener.types == ["route.evaluate", "route.select"]


async def test_a_conditional_cancelled_before_the_choice_emits_nothing() -> None:
    cancellation, listener = Cancellation(), Listener()
    cancellation.cancel()
    with pytest.raises(ConditionalError) as caught:
        await route(
            State(kind="loud"),
            by_kind,
            HANDLERS,
            cancellation=cancellation,
            observer=listener,
        )
    assert caught.value.code == "conditional.cancelled"
    assert listener.events == []


async def test_a_conditional_cancelled_during_the_choice_runs_no_handler() -> None:
    cancellation, listener = Cancellation(), Listener()

    async def choose(state: State) -> str:
        cancellation.cancel()
        return "loud"

    with pytest.raises(ConditionalError) as caught:
        await route(
            State(), choose, HANDLERS, cancellation=cancellation, observer=listener
        )
    assert (caught.value.code, caught.value.route) == ("conditional.cancelled", "loud")
    assert listener.types == ["route.evaluate", "route.select"]


async def test_an_unknown_observer_raises_a_distinct_error() -> None:
    with pytest.raises(ConditionalError) as caught:
        await route(
            State(kind="loud"),
            by_kind,
            HANDLERS,
            config=ConditionalConfig(observer="nobody"),
        )
    assert caught.value.code == "conditional.unknown_observer"


async def test_a_conditional_node_passes_the_runtime_to_its_handlers() -> None:
    runs = Runs()
    node = conditional(by_kind, HANDLERS, name="speak")
    end = await runs.line(node).execute(start(kind="soft"), runtime="world")
    assert end["text"] == "hello world"
    (shape,) = runs.graph.describe().nodes
    assert (shape.kind, shape.doc) == ("conditional", "Read the route from the state.")


async def test_a_failed_conditional_node_retains_its_input() -> None:
    runs = Runs()
    node = conditional(by_kind, HANDLERS, name="speak")
    with pytest.raises(ExecutionError, match="“odd”") as caught:
        await runs.line(node).execute(start(kind="odd"))
    assert isinstance(caught.value.__cause__, ConditionalError)
    assert runs.listener.data("node.complete")[0]["output_snapshot"] == {"kind": "odd"}


async def test_a_choice_that_is_no_text_is_a_choice_that_failed() -> None:
    with pytest.raises(ConditionalError, match="not list") as caught:
        await route(State(), lambda _: [], HANDLERS)  # type: ignore[arg-type, return-value]
    assert caught.value.code == "conditional.predicate"
