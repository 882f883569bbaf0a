"""Retries and timeouts of nodes."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tests.engine.parts import Flaky, Gate, Runs, sets, start
from workflows.engine import (
    Cancellation,
    DefinitionError,
    ExecutionError,
    MemoryStore,
    NodeContext,
    NodeTimedOut,
    Paused,
    Retry,
    State,
    Workflow,
    node,
)
from workflows.engine.testing import run_in_memory


class Unavailable(Exception):
    """The agent is unavailable."""


async def test_a_node_is_retried_until_it_succeeds_with_an_event_per_try() -> None:
    runs, flaky = Runs(), Flaky("a", failures=2, error=Unavailable)
    retry = Retry(attempts=3, on=Unavailable, wait=1, factor=3)
    end = await runs.line(flaky.node(retry=retry)).execute(start())
    assert end["a"] == 3
    assert runs.clock.slept == [1, 3]
    assert runs.listener.data("node.retry") == [
        {
            "node": "a",
            "sequence": 1,
            "iteration": 1,
            "try": number,
            "of": 3,
            "error": f"failure {number}",
            "wait_seconds": seconds,
        }
        for number, seconds in ((1, 1.0), (2, 3.0))
    ]
    assert runs.listener.types.count("node.start") == 1
    assert runs.listener.types.count("node.complete") == 1


async def test_the_last_tries_error_is_the_nodes() -> None:
    runs, flaky = Runs(), Flaky("a", failures=9)
    with pytest.raises(ExecutionError, match="failure 3"):
        await runs.line(flaky.node(retry=Retry(attempts=3))).execute(start())
    assert flaky.runs == 3
    assert len(runs.listener.data("node.retry")) == 2


async def test_other_errors_are_not_retried() -> None:
    runs, flaky = Runs(), Flaky("a", failures=1, error=KeyError)
    with pytest.raises(ExecutionError):
        await runs.line(flaky.node(retry=Retry(on=(Unavailable, OSError)))).execute(
            start()
        )
    assert flaky.runs == 1
    assert runs.clock.slept == []


async def test_the_graph_can_override_the_retry_policy_of_a_node() -> None:
    runs, flaky = Runs(), Flaky("a", failures=1)
    end = await runs.line(flaky.node(), retry=Retry(attempts=2)).execute(start())
    assert end["a"] == 2


async def test_every_try_receives_its_number_and_the_same_key() -> None:
    runs = Runs()
    seen: list[tuple[str, int]] = []

    class Runtime:
        def at(self, context: NodeContext) -> NodeContext:
            return context

    @node(retry=Retry(attempts=3))
    async def fails(state: State, runtime: NodeContext) -> State:
        seen.append((runtime.key, runtime.try_number))
        raise Unavailable

    with pytest.raises(ExecutionError, match="Unavailable"):
        await runs.line(fails).execute(start(), runtime=Runtime())
    assert seen == [("r1/fails/1", 1), ("r1/fails/1", 2), ("r1/fails/1", 3)]


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        (Retry(wait=1, factor=2), [1, 2, 4, 8]),
        (Retry(wait=5, factor=1), [5, 5, 5, 5]),
        (Retry(wait=10, factor=10, max_wait=60), [10, 60, 60, 60]),
        (Retry(wait=0), [0, 0, 0, 0]),
    ],
)
def test_waits_grow_by_the_factor_up_to_the_bound(
    retry: Retry, waits: list[float]
) -> None:
    # wait * factor ** (n - 1), at most max_wait
    assert [retry.delay_after(number) for number in (1, 2, 3, 4)] == waits


def test_jitter_is_bounded_by_its_setting() -> None:
    retry = Retry(wait=1, jitter=0.5)
    waits = [retry.delay_after(1) for _ in range(200)]
    assert all(1 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) > 1


def test_many_tries_do_not_overflow() -> None:
    assert Retry(wait=1, factor=2.5, max_wait=60).delay_after(5000) == 60


@pytest.mark.parametrize(
    "values",
    [{"attempts": 0}, {"wait": -1}, {"factor": -1}, {"jitter": -1}, {"max_wait": -1}],
)
def test_a_retry_that_cannot_work_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(values))):
        Retry(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "on",
    [
        callable,
        ValueError("x"),
        "ValueError",
        (),
        (ValueError, int),
        ((ValueError,),),
        KeyboardInterrupt,
        None,
    ],
)
def test_a_retry_on_what_is_no_class_of_errors_is_refused(on: Any) -> None:
    with pytest.raises(DefinitionError, match="names no errors"):
        Retry(on=on)


async def test_the_error_of_a_node_is_not_hidden_by_a_failing_retry_condition() -> None:
    class Odd(type):
        def __instancecheck__(cls, instance: object) -> bool:
            raise TypeError("asked")

    class Strange(Exception, metaclass=Odd):
        pass

    flaky = Flaky("a", 1)
    with pytest.raises(ExecutionError, match="failure 1"):
        await Runs().line(flaky.node(retry=Retry(on=Strange))).execute(start())


@pytest.mark.parametrize("on", [TimeoutError, OSError, NodeTimedOut])
async def test_a_timeout_of_the_node_is_a_timeout_error(on: type[Exception]) -> None:
    tries: list[int] = []

    @node(retry=Retry(attempts=2, on=on), timeout=0.01)
    async def slow_at_first(state: State) -> State:
        tries.append(1)
        if len(tries) < 2:
            await asyncio.Event().wait()
        return state.set(tries=len(tries))

    assert (await Runs().line(slow_at_first).execute(start()))["tries"] == 2


async def test_a_timeout_error_with_a_cyclic_context_fails_the_node() -> None:
    @node(timeout=0.01)
    async def circles(state: State) -> State:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            first, second = ValueError("inner"), KeyError("b")
            first.__context__, second.__context__ = second, first
            raise first from None
        return state

    with pytest.raises(ExecutionError, match="inner"):
        await Runs().line(circles).execute(start())


async def test_a_node_that_blocks_the_loop_beyond_its_timeout_fails_when_it_returns() -> (
    None
):
    runs = Runs()

    @node(timeout=0.01)
    async def blocks(state: State) -> State:
        time.sleep(0.03)  # noqa: ASYNC251 - the timer cannot fire meanwhile
        return state

    with pytest.raises(ExecutionError) as failed:
        await runs.line(blocks).execute(start())
    assert isinstance(failed.value.__cause__, NodeTimedOut)


def test_a_timeout_that_no_try_can_meet_is_refused() -> None:
    with pytest.raises(DefinitionError, match="timeout"):
        node(timeout=0)(sets("a").function)  # type: ignore[attr-defined]


async def test_a_try_that_takes_too_long_fails_by_name() -> None:
    runs, gate = Runs(), Gate()
    with pytest.raises(ExecutionError) as caught:
        await runs.line(gate.node(timeout=0.01)).execute(start())
    assert isinstance(caught.value.__cause__, NodeTimedOut)
    assert "“gate” did not finish within 0.01 s" in str(caught.value)
    assert not caught.value.is_cancelled
    assert gate.interrupted


async def test_the_timeout_applies_to_each_try() -> None:
    runs = Runs()
    tries: list[int] = []

    @node(retry=Retry(attempts=3, on=NodeTimedOut), timeout=0.01)
    async def slow_at_first(state: State) -> State:
        tries.append(1)
        if len(tries) < 3:
            await asyncio.Event().wait()
        return state.set(tries=len(tries))

    assert (await runs.line(slow_at_first).execute(start()))["tries"] == 3


async def test_a_timeout_error_raised_by_the_node_is_not_a_node_timeout() -> None:
    @node(timeout=60)
    async def gives_up(state: State) -> State:
        raise TimeoutError("the other side")

    with pytest.raises(ExecutionError, match="the other side") as caught:
        await Runs().line(gives_up).execute(start())
    assert not isinstance(caught.value.__cause__, NodeTimedOut)


async def test_a_thread_that_timed_out_is_notified_that_it_was_abandoned() -> None:
    runs = Runs()
    loop, reported = asyncio.get_running_loop(), asyncio.Event()
    timed_out = threading.Event()
    seen: list[bool] = []

    class Runtime:
        def at(self, context: NodeContext) -> NodeContext:
            return context

    @node(timeout=0.01)
    def slow(state: State, runtime: NodeContext) -> State:
        assert timed_out.wait(timeout=10)
        seen.append(runtime.cancelled)
        loop.call_soon_threadsafe(reported.set)
        raise RuntimeError("no one hears this")

    with pytest.raises(ExecutionError) as caught:
        await runs.line(slow).execute(start(), runtime=Runtime())
    assert isinstance(caught.value.__cause__, NodeTimedOut)
    timed_out.set()
    await reported.wait()
    assert seen == [True]


async def test_a_pause_is_not_retried() -> None:
    runs = Runs()
    tries: list[int] = []

    def pause() -> None:
        raise Paused("wait")

    @node(retry=Retry(attempts=3))
    async def pauses(state: State) -> State:
        tries.append(1)
        try:
            pause()
        except Exception:
            tries.append(2)
        return state

    with pytest.raises(Paused):
        await runs.line(pauses).execute(start())
    assert tries == [1]


class Listed(State):
    """A state whose parsed list can be changed in place by a careless node."""

    items: list[int] = []  # noqa: RUF012 - a field, stored as JSON


def test_a_try_does_not_see_what_an_earlier_one_changed_in_place() -> None:
    seen: list[list[int]] = []

    @node(retry=Retry(attempts=2, on=ValueError, wait=0))
    def careless(state: Listed) -> Listed:
        seen.append(list(state.items))
        state.items.append(1)
        if len(seen) == 1:
            raise ValueError("the first try fails")
        return state

    @node
    def stop(state: Listed) -> Listed:
        seen.append(list(state.items))
        return state

    workflow = Workflow(
        "careless", state=Listed, start=careless, routes={careless: stop}
    )
    assert run_in_memory(workflow).status == "completed"
    assert seen == [[], [], []]


async def test_no_try_is_announced_once_the_run_is_cancelled() -> None:
    runs, cancellation = Runs(), Cancellation()

    @node(retry=Retry(attempts=3))
    async def fails(state: State) -> State:
        cancellation.cancel()
        raise ValueError("no")

    with pytest.raises(ExecutionError) as caught:
        await runs.line(fails).execute(start(), cancellation=cancellation)
    assert caught.value.is_cancelled
    assert runs.listener.data("node.retry") == []


async def test_a_run_cancelled_during_a_backoff_is_not_retried() -> None:
    runs, cancellation, flaky = Runs(), Cancellation(), Flaky("a", failures=5)

    async def sleep(seconds: float) -> None:
        cancellation.cancel(f"after {seconds} s that passed at once")

    runs.clock.sleep = sleep  # type: ignore[method-assign]
    graph = runs.line(flaky.node(retry=Retry(attempts=3)))
    with pytest.raises(ExecutionError) as caught:
        await graph.execute(start(), cancellation=cancellation)
    assert caught.value.is_cancelled
    assert flaky.runs == 1


async def test_tries_of_an_interrupted_attempt_count_and_its_wait_continues() -> None:
    class Interrupted(MemoryStore):
        def saved_tries(self, run_id: str, sequence: int) -> tuple[int, float]:
            return (2, 7.5) if (run_id, sequence) == ("r1", 2) else (0, 0.0)

    runs = Runs(store=Interrupted())
    first, flaky = Flaky("a", failures=0), Flaky("b", failures=9)
    retry = Retry(attempts=4, wait=1, factor=1)
    graph = runs.line(first.node(retry=retry), flaky.node(retry=retry))
    with pytest.raises(ExecutionError, match="failure 2"):
        await graph.execute(start())
    assert flaky.runs == 2
    assert runs.clock.slept == [7.5, 1]
    assert [one["try"] for one in runs.listener.data("node.retry")] == [3]


class Final(Unavailable):
    """The agent will never be available."""


async def test_an_error_of_never_ends_the_tries_although_on_matches() -> None:
    runs, flaky = Runs(), Flaky("a", failures=9, error=Final)
    retry = Retry(attempts=3, on=Unavailable, never=(KeyError, Final))
    with pytest.raises(ExecutionError, match="failure 1"):
        await runs.line(flaky.node(retry=retry)).execute(start())
    assert flaky.runs == 1


async def test_waits_give_the_delay_before_each_further_try() -> None:
    runs, flaky = Runs(), Flaky("a", failures=3)
    end = await runs.line(flaky.node(retry=Retry(waits=[2, 5, 15]))).execute(start())
    assert (end["a"], runs.clock.slept) == (4, [2, 5, 15])
    assert [data["of"] for data in runs.listener.data("node.retry")] == [4, 4, 4]
    assert Retry().attempts == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"never": int}, "names no errors"),
        ({"never": lambda _: True}, "names no errors"),
        ({"waits": [1, -1]}, "a wait below 0"),
        ({"waits": [1, 2], "attempts": 5}, "are for 3: leave it out"),
    ],
)
def test_a_retry_that_cannot_work_is_a_mistake(options: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Retry(**options)
