"""Threads of nodes: slots are released, queued calls withdrawn, and tries run in turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from workflows.engine import (
    Cancellation,
    ExecutionError,
    Node,
    Retry,
    State,
    cancellation,
    node,
    parallel,
    threads,
)
from workflows.engine.context import NodeContext
from workflows.engine.threads import Counts, ThreadPool

from .parts import Runs, start

TIMEOUT_SECONDS = 10


class Held:
    """Sync calls that stay in their thread until they are released."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.release = threading.Event()
        self.began: list[object] = []
        self.running = 0
        self.most = 0
        self._changed = asyncio.Event()

    def __call__(self, what: object) -> None:
        self.began.append(what)
        self.running += 1
        self.most = max(self.most, self.running)
        self.loop.call_soon_threadsafe(self._changed.set)
        assert self.release.wait(TIMEOUT_SECONDS)
        self.running -= 1

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not holds():
                await self._changed.wait()
                self._changed.clear()


@pytest.fixture
async def held() -> Held:
    return Held()


@pytest.fixture
def one_place(monkeypatch: pytest.MonkeyPatch, held: Held) -> Iterator[ThreadPool]:
    pool = ThreadPool(slots=1, max_abandoned=1)
    monkeypatch.setattr(threads, "pool", pool)
    yield pool
    held.release.set()


def holding(held: Held, name: str, **options: Any) -> Node[Any, Any]:
    def holds(state: State) -> State:
        held(name)
        return state

    made: Node[Any, Any] = node(name=name, **options)(holds)
    return made


async def waits_for_thread(runs: Runs) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not runs.listener.data("thread.wait"):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)


async def test_a_wait_for_a_thread_has_an_event_and_is_not_part_of_the_duration(
    held: Held, one_place: ThreadPool
) -> None:
    first, second = Runs(), Runs()
    before = asyncio.create_task(first.line(holding(held, "a")).execute(start()))
    await held.until(lambda: held.began == ["a"])

    @node(timeout=0.05)
    def quick(state: State) -> State:
        return state.set(quick=True)

    after = asyncio.create_task(second.line(quick).execute(start()))
    await waits_for_thread(second)
    assert one_place.counts == Counts(running=1, waiting=1, abandoned=0)
    done, _ = await asyncio.wait({after}, timeout=0.2)
    assert not done, "it has waited longer than its timeout, and did not fail"
    assert second.listener.data("thread.begin") == []
    held.release.set()
    assert (await after)["quick"] is True
    await before
    assert [data["leftover"] for data in second.listener.data("thread.wait")] == [False]
    assert len(second.listener.data("thread.begin")) == 1


@pytest.mark.parametrize("stop", ["cancelled", "stopped from outside"])
async def test_a_queued_call_never_starts_after_its_run_ended(
    held: Held, one_place: ThreadPool, stop: str
) -> None:
    first, second, cancelling = Runs(), Runs(), Cancellation()
    before = asyncio.create_task(first.line(holding(held, "a")).execute(start()))
    await held.until(lambda: held.began == ["a"])
    graph = second.line(holding(held, "b"))
    after = asyncio.create_task(graph.execute(start(), cancellation=cancelling))
    await waits_for_thread(second)
    if stop == "cancelled":
        cancelling.cancel()
    else:
        after.cancel()
    with pytest.raises((ExecutionError, asyncio.CancelledError)):
        await after
    assert one_place.counts == Counts(running=1, waiting=0, abandoned=0)
    held.release.set()
    await before
    assert held.began == ["a"]


async def test_queued_items_are_withdrawn_when_another_item_fails(
    held: Held, one_place: ThreadPool
) -> None:
    runs = Runs()
    before = asyncio.create_task(Runs().line(holding(held, "a")).execute(start()))
    await held.until(lambda: held.began == ["a"])

    class Item(Node[int, int]):
        async def run(self, value: int, runtime: object, context: NodeContext) -> int:  # noqa: ARG002
            if value == 1:
                await waits_for_thread(runs)
                raise ValueError("the first one fails")
            await threads.in_thread(lambda: held(value), context)
            return value

    each = parallel(Item("item"), over="items", into="out", limit=3, name="each")
    with pytest.raises(ExecutionError, match="the first one fails"):
        await runs.line(each).execute(start(items=[1, 2, 3]))
    held.release.set()
    await before
    assert held.began == ["a"]


async def test_abandoned_threads_free_their_slots_up_to_a_limit(
    held: Held, one_place: ThreadPool, caplog: pytest.LogCaptureFixture
) -> None:
    for names in (["a"], ["a", "b"]):
        run = asyncio.create_task(
            Runs().line(holding(held, names[-1])).execute(start())
        )
        await held.until(lambda names=names: held.began == names)  # type: ignore[misc]
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        counts = Counts(running=0, waiting=0, abandoned=len(names))
        assert one_place.counts == counts
    assert one_place.is_exhausted
    assert "Restart the worker" in caplog.text

    last = Runs()
    run = asyncio.create_task(last.line(holding(held, "c")).execute(start()))
    await waits_for_thread(last)
    assert held.began == ["a", "b"]
    held.release.set()
    await run
    assert held.began == ["a", "b", "c"]
    assert not one_place.is_exhausted


async def test_a_try_starts_when_the_thread_of_the_previous_try_has_ended(
    held: Held,
) -> None:
    runs = Runs()
    tries: list[int] = []

    @node(timeout=0.25, retry=Retry(attempts=2, wait=0))
    def late(state: State) -> State:
        tries.append(1)
        if len(tries) == 1:
            held(1)
        return state.set(tries=len(tries), run_in_db_priority=held.running)

    run = asyncio.create_task(runs.line(late).execute(start()))
    await waits_for_thread(runs)
    assert [data["leftover"] for data in runs.listener.data("thread.wait")] == [True]
    assert len(tries) == 1
    held.release.set()
    after = await run
    assert (after["tries"], after["run_in_db_priority"]) == (2, 0)


async def test_waiting_for_the_thread_of_an_earlier_try_can_be_cancelled(
    held: Held,
) -> None:
    runs, cancelling = Runs(), Cancellation()
    late = holding(held, "a", timeout=0.25, retry=Retry(attempts=2, wait=0))
    run = asyncio.create_task(runs.line(late).execute(start(), cancellation=cancelling))
    await waits_for_thread(runs)
    cancelling.cancel()
    with pytest.raises(ExecutionError) as caught:
        await run
    assert caught.value.is_cancelled
    assert held.began == ["a"]
    held.release.set()


async def test_a_resumed_run_waits_for_the_thread_of_its_last_attempt(
    held: Held,
) -> None:
    runs = Runs()
    graph = runs.line(holding(held, "a", timeout=0.25))
    with pytest.raises(ExecutionError):
        await graph.execute(start())
    run = asyncio.create_task(graph.resume("r1"))
    await waits_for_thread(runs)
    assert held.began == ["a"]
    held.release.set()
    await run
    assert (held.began, held.most) == (["a", "a"], 1)


async def test_what_follows_a_call_is_done_in_its_thread_before_its_result_is_there(
    one_place: ThreadPool, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    prepared: list[str] = []
    done: list[str] = []

    def fails() -> None:
        raise RuntimeError("no connection to close")

    one_place.add_hooks(clean_up=fails)
    one_place.add_hooks(
        prepare=lambda: prepared.append(threading.current_thread().name),
        clean_up=lambda: done.append(threading.current_thread().name),
    )

    @node
    def works(state: State) -> State:
        return state.set(thread=threading.current_thread().name)

    @node
    def raises(state: State) -> State:
        raise ValueError("as ever")

    after = await Runs().line(works).execute(start())
    assert prepared == done == [after["thread"]]
    with pytest.raises(ExecutionError, match="as ever"):
        await Runs().line(raises).execute(start())
    assert (prepared, len(done)) == (done[:1], 2)
    assert "no connection to close" in caplog.text


async def test_a_node_that_swallows_its_cancellation_is_interrupted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancellation, "REPEAT_SECONDS", 0.01)
    cancelling, entered = Cancellation(), asyncio.Event()
    interrupted: list[BaseException] = []

    @node
    async def swallows(state: State) -> State:
        while len(interrupted) < 3:
            entered.set()
            try:
                await asyncio.sleep(TIMEOUT_SECONDS)
            except BaseException as error:
                interrupted.append(error)
        return state

    graph = Runs().line(swallows, holding(Held(), "never"))
    run = asyncio.create_task(graph.execute(start(), cancellation=cancelling))
    await entered.wait()
    cancelling.cancel()
    with pytest.raises(ExecutionError) as caught:
        await run
    assert (caught.value.code, caught.value.node) == ("cancelled", "never")
    assert len(interrupted) == 3
    assert run.cancelling() == 0


@pytest.mark.parametrize("reason", ["cancelled", "another item failed"])
async def test_an_item_that_swallows_its_cancellation_is_interrupted_again(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(cancellation, "REPEAT_SECONDS", 0.01)
    cancelling, entered = Cancellation(), asyncio.Event()
    interrupted: list[BaseException] = []

    async def swallows() -> None:
        while len(interrupted) < 3:
            entered.set()
            try:
                await asyncio.sleep(TIMEOUT_SECONDS)
            except BaseException as error:
                interrupted.append(error)

    async def item(number: int) -> int:
        if number == 1:
            await swallows()
        elif reason == "another item failed":
            await entered.wait()
            raise ValueError("no")
        return number

    each = parallel(item, over="items", into="out", limit=2, name="each")
    graph = Runs().line(each)
    run = asyncio.create_task(
        graph.execute(start(items=[1, 2]), cancellation=cancelling)
    )
    await entered.wait()
    if reason == "cancelled":
        cancelling.cancel()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await asyncio.wait({run})
    assert isinstance(run.exception(), ExecutionError | None)
    assert len(interrupted) == 3


async def test_a_cancelled_run_waits_for_its_thread_after_repeated_interruptions(
    monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    monkeypatch.setattr(cancellation, "REPEAT_SECONDS", 0.001)
    cancelling = Cancellation()
    items = parallel(held, over="items", into="out", limit=2, name="items")
    for graph in (Runs().line(holding(held, "a")), Runs().line(items)):
        held.began.clear()
        held.release.clear()
        cancelling = Cancellation()
        run = asyncio.create_task(
            graph.execute(start(items=[1]), cancellation=cancelling)
        )
        await held.until(lambda: len(held.began) == 1)
        cancelling.cancel()
        done, _ = await asyncio.wait({run}, timeout=0.05)
        assert not done
        held.release.set()
        await asyncio.wait({run})
        assert held.running == 0
