"""The end of a run by a person, by its deadline, and by a server that stops."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.engine.parts import Flaky, Gate, Runs, sets, start
from workflows.engine import (
    Cancellation,
    Cancelled,
    ExecutionError,
    MemoryStore,
    NodeContext,
    Retry,
    State,
    node,
)
from workflows.engine.errors import DeadlinePassed


async def cancelled_at(
    gate: Gate, run: asyncio.Task[State], cancellation: Cancellation
) -> Any:
    """Cancel once the gate's node waits; the error of the run."""
    await gate.entered.wait()
    cancellation.cancel("enough")
    with pytest.raises(ExecutionError) as caught:
        await run
    return caught.value


async def test_a_node_is_interrupted_where_it_awaits() -> None:
    runs, gate, cancellation = Runs(), Gate(), Cancellation()
    graph = runs.line(sets("a"), gate.node(), sets("c"))
    run = asyncio.create_task(graph.execute(start(), cancellation=cancellation))
    error = await cancelled_at(gate, run, cancellation)
    assert gate.interrupted
    assert (error.code, error.node, error.path) == (
        "node_failed",
        "gate",
        ("a", "gate"),
    )
    assert error.is_cancelled
    assert not error.is_deadline
    assert error.state.checkpoint_node == "a"
    assert isinstance(error.__cause__, Cancelled)
    assert run.cancelling() == 0


async def test_a_cancelled_run_continues_when_it_is_resumed() -> None:
    runs, gate, cancellation = Runs(), Gate(), Cancellation()
    graph = runs.line(sets("a"), gate.node(), sets("c"))
    run = asyncio.create_task(graph.execute(start(), cancellation=cancellation))
    await cancelled_at(gate, run, cancellation)
    gate.opened.set()
    end = await graph.resume("r1")
    assert dict(end.data) == {"a": True, "gate": True, "c": True}


async def test_cancelling_from_another_thread_interrupts_too() -> None:
    runs, gate, cancellation = Runs(), Gate(), Cancellation()
    graph = runs.line(gate.node())
    run = asyncio.create_task(graph.execute(start(), cancellation=cancellation))
    await gate.entered.wait()
    thread = threading.Thread(target=cancellation.cancel)
    thread.start()
    with pytest.raises(ExecutionError) as caught:
        await run
    thread.join()
    assert caught.value.is_cancelled


async def test_a_node_that_does_not_await_again_completes_and_the_next_does_not_start() -> (
    None
):
    runs, cancellation = Runs(), Cancellation()

    @node
    async def cancels(state: State) -> State:
        cancellation.cancel()
        return state.set(cancels=True)

    with pytest.raises(ExecutionError) as caught:
        await runs.line(cancels, sets("b")).execute(start(), cancellation=cancellation)
    error = caught.value
    assert (error.code, error.node, error.path) == ("cancelled", "b", ("cancels",))
    assert error.is_cancelled
    assert runs.store.load("r1")["cancels"] is True
    await asyncio.sleep(0)  # no interruption is pending here any more


async def test_an_exit_reached_while_cancelled_completes() -> None:
    runs, cancellation = Runs(), Cancellation()

    @node
    async def cancels(state: State) -> State:
        cancellation.cancel()
        return state.set(done=True)

    end = await runs.line(cancels).execute(start(), cancellation=cancellation)
    await asyncio.sleep(0)
    assert end["done"] is True


async def test_a_run_cancelled_beforehand_starts_and_runs_nothing() -> None:
    runs, cancellation = Runs(), Cancellation()
    cancellation.cancel()
    with pytest.raises(ExecutionError) as caught:
        await runs.line(sets("a")).execute(start(), cancellation=cancellation)
    assert (caught.value.code, caught.value.path) == ("cancelled", ())
    assert runs.listener.types == ["graph.start", "graph.error"]


async def test_a_node_that_swallows_the_interruption_is_stopped_at_its_boundary() -> (
    None
):
    runs, gate, cancellation = Runs(), Gate(), Cancellation()

    @node
    async def stubborn(state: State) -> State:
        gate.entered.set()
        try:
            await gate.opened.wait()
        except asyncio.CancelledError:
            return state.set(stubborn=True)
        return state

    graph = runs.line(stubborn, sets("b"))
    run = asyncio.create_task(graph.execute(start(), cancellation=cancellation))
    error = await cancelled_at(gate, run, cancellation)
    assert (error.code, error.node) == ("cancelled", "b")
    assert error.state["stubborn"] is True


async def test_an_exception_raised_on_interruption_is_still_a_cancellation() -> None:
    runs, gate, cancellation = Runs(), Gate(), Cancellation()

    @node
    async def wraps(state: State) -> State:
        gate.entered.set()
        try:
            await gate.opened.wait()
        except asyncio.CancelledError as error:
            raise ConnectionError("the line broke") from error
        return state

    run = asyncio.create_task(
        runs.line(wraps).execute(start(), cancellation=cancellation)
    )
    error = await cancelled_at(gate, run, cancellation)
    assert (error.code, error.is_cancelled) == ("node_failed", True)


async def test_a_sync_node_can_check_for_cancellation_and_is_awaited() -> None:
    runs, cancellation = Runs(), Cancellation()
    loop, entered = asyncio.get_running_loop(), asyncio.Event()
    cancelled = threading.Event()
    cancellation_seen: list[bool] = []

    class Runtime:
        def at(self, context: NodeContext) -> NodeContext:
            return context

    @node
    def works(state: State, runtime: NodeContext) -> State:
        loop.call_soon_threadsafe(entered.set)
        assert cancelled.wait(timeout=10)
        cancellation_seen.append(runtime.cancelled)
        return state.set(works=True)

    graph = runs.line(works, sets("b"))
    run = asyncio.create_task(
        graph.execute(start(), runtime=Runtime(), cancellation=cancellation)
    )
    await entered.wait()
    cancellation.cancel()
    await asyncio.sleep(0)
    assert not run.done()
    cancelled.set()
    with pytest.raises(ExecutionError) as caught:
        await run
    assert cancellation_seen == [True]
    assert (caught.value.code, caught.value.node) == ("cancelled", "b")
    assert runs.store.load("r1")["works"] is True


async def test_a_sync_node_that_raises_cancelled_has_stopped_for_it() -> None:
    runs, cancellation = Runs(), Cancellation()

    @node
    def gives_up(state: State) -> State:
        cancellation.cancel("as asked")
        cancellation.raise_if_cancelled()
        return state

    with pytest.raises(ExecutionError) as caught:
        await runs.line(gives_up).execute(start(), cancellation=cancellation)
    assert (caught.value.code, caught.value.is_cancelled) == ("node_failed", True)


async def test_cancellation_ends_a_retry_backoff_immediately() -> None:
    runs, cancellation = Runs(), Cancellation()
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    runs.clock.sleep = sleep  # type: ignore[method-assign]
    flaky = Flaky("a", failures=5)
    graph = runs.line(flaky.node(retry=Retry(attempts=3, wait=3600)))
    run = asyncio.create_task(graph.execute(start(), cancellation=cancellation))
    await waiting.wait()
    cancellation.cancel()
    with pytest.raises(ExecutionError) as caught:
        await run
    assert caught.value.is_cancelled
    assert flaky.runs == 1


async def test_a_node_that_fails_after_the_cancellation_is_not_retried() -> None:
    runs, cancellation = Runs(), Cancellation()
    tries: list[int] = []

    @node(retry=Retry(attempts=3))
    async def fails(state: State) -> State:
        tries.append(1)
        cancellation.cancel()
        raise ValueError("no")

    with pytest.raises(ExecutionError) as caught:
        await runs.line(fails).execute(start(), cancellation=cancellation)
    assert caught.value.is_cancelled
    assert len(tries) == 1


async def test_the_deadline_interrupts_a_node_and_has_a_distinct_code() -> None:
    runs, gate = Runs(), Gate()
    with pytest.raises(ExecutionError) as caught:
        await runs.line(sets("a"), gate.node()).execute(start(), deadline=0.01)
    error = caught.value
    assert (error.code, error.is_deadline, error.is_cancelled) == (
        "node_failed",
        True,
        False,
    )
    assert isinstance(error.__cause__, DeadlinePassed)


async def test_the_deadline_is_checked_between_nodes_on_the_graphs_clock() -> None:
    runs = Runs()

    @node
    async def late(state: State) -> State:
        await runs.clock.sleep(20)
        return state

    with pytest.raises(ExecutionError) as caught:
        await runs.line(late, sets("b")).execute(start(), deadline=10)
    error = caught.value
    assert (error.code, error.node, error.is_deadline) == ("deadline", "b", True)
    assert not error.is_cancelled


async def test_a_deadline_of_zero_has_passed() -> None:
    runs = Runs()
    with pytest.raises(ExecutionError) as caught:
        await runs.line(sets("a")).execute(start(), deadline=0)
    assert (caught.value.code, caught.value.path) == ("deadline", ())


async def test_an_unused_deadline_leaves_no_timer() -> None:
    runs = Runs()
    end = await runs.line(sets("a")).execute(start(), deadline=0.01)
    await asyncio.sleep(0.02)  # after the deadline: there must be no timer any more
    assert end["a"] is True


async def test_the_cancellation_of_the_task_by_a_stopping_server_passes_unchanged() -> (
    None
):
    runs, gate = Runs(), Gate()
    run = asyncio.create_task(runs.line(sets("a"), gate.node()).execute(start()))
    await gate.entered.wait()
    run.cancel("shutdown")
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.cancelled()
    assert runs.listener.types[-1] == "node.start"
    gate.opened.set()
    assert (await runs.graph.resume("r1"))["gate"] is True


async def test_a_server_that_stops_wins_over_a_node_that_swallows_it() -> None:
    runs, gate = Runs(), Gate()

    @node
    async def stubborn(state: State) -> State:
        gate.entered.set()
        try:
            await gate.opened.wait()
        except asyncio.CancelledError:
            return state.set(stubborn=True)
        return state

    run = asyncio.create_task(runs.line(stubborn, sets("b")).execute(start()))
    await gate.entered.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert runs.store.load("r1")["stubborn"] is True


async def test_a_server_stop_takes_precedence_over_an_error_of_the_node() -> None:
    runs, gate = Runs(), Gate()

    @node
    async def wraps(state: State) -> State:
        gate.entered.set()
        try:
            await gate.opened.wait()
        except asyncio.CancelledError as error:
            raise ConnectionError("the line broke") from error
        return state

    run = asyncio.create_task(runs.line(wraps).execute(start()))
    await gate.entered.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_server_that_stops_wins_over_a_person_who_cancels() -> None:
    runs, gate, cancellation = Runs(), Gate(), Cancellation()
    run = asyncio.create_task(
        runs.line(gate.node()).execute(start(), cancellation=cancellation)
    )
    await gate.entered.wait()
    cancellation.cancel()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_run_does_not_interfere_with_a_timeout_of_its_caller() -> None:
    gate = Gate()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Runs().line(gate.node()).execute(start())


async def test_a_cancellation_takes_effect_once_and_retains_its_reason() -> None:
    cancellation = Cancellation()
    assert (cancellation.cancelled, cancellation.reason) == (False, "")
    cancellation.raise_if_cancelled()
    cancellation.cancel("first")
    cancellation.cancel("second")
    cancellation.expire()
    assert (cancellation.cancelled, cancellation.reason) == (True, "first")
    assert not cancellation.expired
    with pytest.raises(Cancelled, match="first"):
        cancellation.raise_if_cancelled()


async def test_one_cancellation_stops_every_run_it_was_given_to() -> None:
    cancellation, gates = Cancellation(), [Gate(), Gate()]
    tasks = [
        asyncio.create_task(
            Runs().line(gate.node()).execute(start(), cancellation=cancellation)
        )
        for gate in gates
    ]
    for gate in gates:
        await gate.entered.wait()
    cancellation.cancel()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [
        error.is_cancelled for error in errors if isinstance(error, ExecutionError)
    ] == [
        True,
        True,
    ]


async def test_no_listener_is_left_on_a_cancellation_after_the_run() -> None:
    cancellation = Cancellation()
    await Runs().line(sets("a")).execute(start(), cancellation=cancellation)
    assert cancellation._listeners == []  # noqa: SLF001 - or a long server would grow


async def test_a_server_that_stops_does_not_wait_for_the_thread_of_a_cancelled_run() -> (
    None
):
    runs, cancellation = Runs(), Cancellation()
    loop, entered = asyncio.get_running_loop(), asyncio.Event()
    release, left = threading.Event(), asyncio.Event()
    contexts: list[NodeContext] = []

    class Runtime:
        def at(self, context: NodeContext) -> NodeContext:
            contexts.append(context)
            return context

    @node
    def works(state: State, runtime: NodeContext) -> State:
        loop.call_soon_threadsafe(entered.set)
        assert release.wait(timeout=10)
        loop.call_soon_threadsafe(left.set)
        raise RuntimeError("no one hears this")

    run = asyncio.create_task(
        runs.line(works).execute(start(), runtime=Runtime(), cancellation=cancellation)
    )
    await entered.wait()
    cancellation.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert contexts[0].abandoned
    release.set()
    await left.wait()


async def test_a_run_cancelled_while_its_store_flushes_is_interrupted_in_the_node() -> (
    None
):
    cancellation, gate = Cancellation(), Gate()

    class Settling(MemoryStore):
        async def flush(self) -> None:
            cancellation.cancel()
            for _ in range(3):  # longer than the interruption is on its way
                await asyncio.sleep(0)

    graph = Runs(store=Settling()).line(gate.node())
    with pytest.raises(ExecutionError) as caught:
        await graph.execute(start(), cancellation=cancellation)
    assert (caught.value.code, caught.value.is_cancelled) == ("node_failed", True)
    assert gate.interrupted
