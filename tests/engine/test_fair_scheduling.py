"""Very many items let other tasks of the event loop run, measured in turns of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.engine.parts import Runs, start
from workflows.engine import Cancellation, ParallelConfig, parallel
from workflows.engine.errors import ExecutionError, ParallelError
from workflows.engine.fair_scheduling import MAX_TURNS, Turns, turns_of_loop
from workflows.engine.patterns import map as map_items

ITEMS = 1_000
AT_ONCE = ParallelConfig(max_workers=ITEMS, fail_fast=False)


class Ticker:
    """Counts the parts of work between two of its turns.

    That is at most two slices: of the iteration before its second turn, and of the rest of the
    iteration of the first.
    """

    def __init__(self) -> None:
        self.happened = 0
        self.most = 0  # between two turns
        self.turns = 0

    def note(self) -> None:
        self.happened += 1

    async def run(self) -> None:
        while True:
            self.most = max(self.most, self.happened)
            self.happened = 0
            self.turns += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    """Provide a ticker that runs concurrently with the block."""
    ticker = Ticker()
    task = asyncio.create_task(ticker.run())
    yield ticker
    task.cancel()


@pytest.mark.parametrize("workers", [1, 4, ITEMS])
async def test_items_that_never_await_leave_the_loop_to_others(workers: int) -> None:
    async with ticking() as ticker:

        async def item(number: int) -> int:
            ticker.note()
            return number

        config = ParallelConfig(max_workers=workers)
        outcome = await map_items(range(ITEMS), item, config=config)
    assert outcome.results == tuple(range(ITEMS))
    assert ticker.most <= 2 * MAX_TURNS
    assert ticker.turns >= ITEMS / MAX_TURNS


async def test_items_that_wake_up_at_once_are_finished_in_parts() -> None:
    together, inside = asyncio.Event(), 0

    async def item(number: int) -> int:
        nonlocal inside
        inside += 1
        if inside == ITEMS:
            together.set()
        await together.wait()
        return number

    async with ticking() as ticker:

        async def progress(_finished: int, _total: int, _result: int) -> None:
            ticker.note()

        outcome = await map_items(range(ITEMS), item, progress, config=AT_ONCE)
    assert len(outcome.results) == ITEMS
    assert ticker.most <= 2 * MAX_TURNS


@pytest.mark.parametrize("by_failure", [False, True])
async def test_very_many_items_are_interrupted_in_parts(*, by_failure: bool) -> None:
    cancellation, inside = Cancellation(), asyncio.Semaphore(0)
    interrupted = 0

    async with ticking() as ticker:

        async def item(number: int) -> None:
            nonlocal interrupted
            inside.release()
            if by_failure and number == ITEMS - 1:
                raise ValueError("planted")
            try:
                await asyncio.Event().wait()
            finally:
                interrupted += 1
                ticker.note()

        config = ParallelConfig(max_workers=ITEMS, fail_fast=True)
        run = asyncio.create_task(
            map_items(range(ITEMS), item, config=config, cancellation=cancellation)
        )
        for _ in range(ITEMS):
            await inside.acquire()
        if not by_failure:
            cancellation.cancel()
        with pytest.raises(ParallelError) as caught:
            await run
    assert caught.value.code == (
        "parallel.failed" if by_failure else "parallel.cancelled"
    )
    assert interrupted == ITEMS - by_failure
    assert ticker.most <= 2 * MAX_TURNS


async def test_results_that_wait_for_their_turn_count_after_a_cancellation() -> None:
    together, inside = asyncio.Event(), 0
    cancellation, executed = Cancellation(), 0

    async def item(number: int) -> int:
        nonlocal inside, executed
        executed += 1
        inside += 1
        if inside == ITEMS:
            together.set()
            # at the cancellation all have results, and few have had their turn
            asyncio.get_running_loop().call_soon(cancellation.cancel)
        await together.wait()
        return number

    runs = Runs()
    graph = runs.line(parallel(item, "items", "results", name="all", limit=ITEMS))
    items = list(range(ITEMS))
    done = await graph.execute(start(items=items), cancellation=cancellation)
    assert (
        done.get("results") == items
    )  # a complete result has priority over a cancellation
    assert len(runs.store.saved_items("r1", 1)) == 0  # the step is stored
    assert executed == ITEMS


async def test_stored_items_are_read_in_parts() -> None:
    is_first = True

    async def item(number: int) -> int:
        if number == ITEMS - 1 and is_first:
            raise ValueError("planted")
        return number

    graph = Runs().line(parallel(item, "items", "results", name="all", limit=1))
    with pytest.raises(ExecutionError):
        await graph.execute(start(items=list(range(ITEMS))))
    is_first = False
    async with ticking() as ticker:
        done = await graph.resume("r1")
    assert done.get("results") == list(range(ITEMS))
    assert ticker.turns >= ITEMS / MAX_TURNS


async def test_turns_are_taken_in_order_and_a_cancelled_wait_takes_none() -> None:
    turns, order = Turns(), []

    async def work(number: int) -> None:
        if not turns.take():
            await turns.wait()
        order.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(3 * MAX_TURNS)]
    await asyncio.sleep(0)
    dropped = set(range(MAX_TURNS + 10, MAX_TURNS + 20))
    for number in dropped:
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [n for n in range(3 * MAX_TURNS) if n not in dropped]
    for _ in range(3):
        await asyncio.sleep(0)
    assert turns.take()  # nothing is left over


async def test_a_slow_part_ends_the_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("workflows.engine.fair_scheduling.time.monotonic", lambda: now)
    turns, order = Turns(), []

    async with ticking() as ticker:

        async def work(number: int) -> None:
            nonlocal now
            if not turns.take():
                await turns.wait()
            now += 1.0  # longer than a slice
            order.append(number)
            ticker.note()

        await asyncio.gather(*[work(number) for number in range(20)])
    assert order == list(range(20))
    assert ticker.most == 1


async def test_the_turns_of_a_loop_are_shared() -> None:
    assert turns_of_loop() is turns_of_loop()
