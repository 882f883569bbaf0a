"""Heartbeats: a try that reports no progress for too long fails, and is retried by policy."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.engine import isolated_nodes
from workflows.engine import (
    DefinitionError,
    ExecutionError,
    Graph,
    NodeSilent,
    NodeTimedOut,
    Retry,
    State,
    node,
    parallel,
)
from workflows.runtime import FakeRuntime, Invalid, Progress, Runtime

SHORT_SECONDS = 0.05  # seconds, of heartbeats that expire in a test
LONG_SECONDS = 30  # seconds, of heartbeats that do not expire


async def run(step: object, runtime: Runtime, **state: object) -> State:
    """Execute a graph of one node."""
    graph = Graph("one")
    graph.add_node("step", step)  # type: ignore[arg-type]
    graph.set_entry_point("step")
    graph.set_exit_point("step")
    return await graph.execute(State(dict(state)), runtime=runtime)


async def test_a_silent_try_fails_and_is_retried_by_policy() -> None:
    tries: list[int] = []

    @node(heartbeat=SHORT_SECONDS, retry=Retry(attempts=3, on=NodeSilent, wait=0.001))
    async def silent(state: State, runtime: Runtime) -> State:
        assert runtime.context is not None
        tries.append(1)
        if len(tries) < 3:
            await asyncio.sleep(LONG_SECONDS)
        return state

    await run(silent, FakeRuntime())
    assert len(tries) == 3


async def test_the_error_names_the_node_and_its_heartbeat() -> None:
    @node(heartbeat=SHORT_SECONDS)
    async def silent(state: State, runtime: Runtime) -> State:
        await asyncio.sleep(LONG_SECONDS)
        return state

    with pytest.raises(ExecutionError) as caught:
        await run(silent, FakeRuntime())
    cause = caught.value.__cause__
    assert isinstance(cause, NodeSilent)
    assert isinstance(cause, NodeTimedOut)
    assert isinstance(cause, TimeoutError)
    assert str(cause) == "“step” reported no progress for 0.05 s."


async def test_reports_keep_an_async_node_alive_beyond_its_heartbeat() -> None:
    @node(heartbeat=SHORT_SECONDS)
    async def steady(state: State, runtime: Runtime) -> State:
        end = asyncio.get_running_loop().time() + 10 * SHORT_SECONDS
        while asyncio.get_running_loop().time() < end:
            runtime.progress()
            await asyncio.sleep(0)
        return state.set(done=True)

    after = await run(steady, FakeRuntime())
    assert after.data["done"] is True


async def test_reports_of_a_thread_keep_its_node_alive() -> None:
    @node(heartbeat=0.2)
    def steady(state: State, runtime: Runtime) -> State:
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            runtime.progress()
            time.sleep(0.001)
        return state.set(done=True)

    after = await run(steady, FakeRuntime())
    assert after.data["done"] is True


async def test_a_silent_thread_fails_its_node_and_sees_that_it_has_to_stop() -> None:
    stopped = threading.Event()

    @node(heartbeat=SHORT_SECONDS)
    def silent(state: State, runtime: Runtime) -> State:
        while not runtime.cancelled:
            time.sleep(0.001)
        stopped.set()
        return state

    with pytest.raises(ExecutionError, match="reported no progress"):
        await run(silent, FakeRuntime())
    assert await asyncio.to_thread(stopped.wait, 10)


async def test_a_heartbeat_applies_to_each_item() -> None:
    @node(heartbeat=SHORT_SECONDS)
    async def item(value: int, runtime: Runtime) -> int:
        if value == 1:
            await asyncio.sleep(LONG_SECONDS)
        runtime.progress()
        return value

    each = parallel(item, over="values", into="results")
    with pytest.raises(ExecutionError, match=r"reported no progress for 0\.05 s"):
        await run(each, FakeRuntime(), values=[0, 1])


async def test_the_shorter_of_timeout_and_heartbeat_applies() -> None:
    @node(heartbeat=LONG_SECONDS, timeout=SHORT_SECONDS)
    async def step(state: State, runtime: Runtime) -> State:
        await asyncio.sleep(LONG_SECONDS)
        return state

    with pytest.raises(ExecutionError, match=r"did not finish within 0\.05 s"):
        await run(step, FakeRuntime())


async def test_a_node_in_a_child_process_reports_from_there() -> None:
    runtime = FakeRuntime()
    graph = Graph("one")
    graph.add_node("step", isolated_nodes.reports)
    graph.set_entry_point("step")
    graph.set_exit_point("step")
    await graph.execute(isolated_nodes.Case(), runtime=runtime)
    assert runtime.reports.entries == [Progress(1, 3, "pages"), Progress(2, 3, "pages")]


async def test_reports_are_kept_by_the_fake_runtime() -> None:
    @node
    async def step(state: State, runtime: Runtime) -> State:
        runtime.progress(1, 4, "first")
        runtime.progress()
        runtime.progress(text="x" * 1_000)
        return state

    runtime = FakeRuntime()
    await run(step, runtime)
    first, second = runtime.reports.entries
    assert first == Progress(1, 4, "first")
    assert len(second.text) == 200
    assert second.text.endswith("…")


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "3", True])
def test_an_amount_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(Invalid, match=r"progress\(done=.*\) is not a number"):
        FakeRuntime().progress(value)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match=r"progress\(of=.*\) is not a number"):
        FakeRuntime().progress(1, value)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_heartbeat_that_no_try_can_keep_is_refused(seconds: float) -> None:
    with pytest.raises(DefinitionError, match="heartbeat"):

        @node(heartbeat=seconds)
        async def step(state: State, runtime: Runtime) -> State:
            return state


def test_a_heartbeat_of_a_node_without_runtime_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"make its function fn\(state, runtime\)"
    ):

        @node(heartbeat=1)
        async def step(state: State) -> State:
            return state
