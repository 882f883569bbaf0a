"""Parallel: the same function for every item, outside of graphs and as a node."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from tests.engine.parts import Listener, Runs, start
from workflows.engine import (
    Cancellation,
    ConfigurationError,
    ExecutionError,
    MemoryStore,
    NodeContext,
    NodeTimedOut,
    ParallelConfig,
    Paused,
    Retry,
    State,
    Superseded,
    node,
    parallel,
)
from workflows.engine.errors import ExitRaised, ItemError, ParallelError
from workflows.engine.patterns import map as map_items
from workflows.engine.patterns.parallel import worker_count

ALL = ParallelConfig(fail_fast=False)


async def double(item: int) -> int:
    """Twice the item."""
    return 2 * item


class Workshop:
    """Items that wait until they are released, one by one."""

    def __init__(self, *items: int) -> None:
        self.gates = {item: asyncio.Event() for item in items}
        self.entered = {item: asyncio.Event() for item in items}
        self.interrupted: list[int] = []
        self.failing: dict[int, Exception] = {}

    async def work(self, item: int) -> int:
        self.entered[item].set()
        try:
            await self.gates[item].wait()
        except asyncio.CancelledError:
            self.interrupted.append(item)
            raise
        if item in self.failing:
            raise self.failing[item]
        return 10 * item

    async def let_go(self, *items: int) -> None:
        for item in items:
            await self.entered[item].wait()
            self.gates[item].set()


async def test_results_are_in_item_order_regardless_of_completion() -> None:
    shop = Workshop(1, 2, 3)
    run = asyncio.create_task(
        map_items([1, 2, 3], shop.work, config=ParallelConfig(max_workers=3))
    )
    await shop.let_go(3, 1, 2)
    assert (await run).results == (10, 20, 30)


async def test_no_more_items_run_at_once_than_there_are_workers() -> None:
    shop = Workshop(1, 2, 3)
    run = asyncio.create_task(
        map_items([1, 2, 3], shop.work, config=ParallelConfig(max_workers=2))
    )
    await shop.entered[1].wait()
    await shop.entered[2].wait()
    assert not shop.entered[3].is_set()
    await shop.let_go(1, 2, 3)
    await run


@pytest.mark.parametrize(
    ("config", "items", "cpus", "workers"),
    [
        (ParallelConfig(max_workers=9), 4, 2, 9),
        (ParallelConfig(), 100, 2, 4),  # 2 × CPUs
        (ParallelConfig(), 100, 32, 16),  # the cap
        (ParallelConfig(), 3, 32, 3),  # the items
        (ParallelConfig(), 0, 2, 0),  # no workers without items
        (ParallelConfig(max_workers=9), 0, 2, 0),
        (ParallelConfig(worker_cap=2), 100, 32, 2),
    ],
)
def test_workers_are_counted_by_the_rule(
    config: ParallelConfig, items: int, cpus: int, workers: int
) -> None:
    assert worker_count(config, items, cpus) == workers


async def test_the_first_failure_stops_the_rest_and_is_the_only_one() -> None:
    shop, listener = Workshop(1, 2, 3, 4), Listener()
    shop.failing[2] = ValueError("bad 2")
    run = asyncio.create_task(
        map_items(
            [1, 2, 3, 4],
            shop.work,
            config=ParallelConfig(max_workers=3),
            observer=listener,
        )
    )
    await shop.entered[3].wait()
    await shop.let_go(2)
    with pytest.raises(ParallelError, match="bad 2") as caught:
        await run
    error = caught.value
    assert error.code == "parallel.failed"
    assert [(e.index, e.item, e.message) for e in error.errors] == [(1, 2, "bad 2")]
    assert sorted(shop.interrupted) == [1, 3]
    assert not shop.entered[4].is_set()
    assert isinstance(error.__cause__, ValueError)
    assert (
        listener.types.count("worker.start")
        == listener.types.count("worker.complete")
        == 3
    )
    assert listener.data("parallel.complete") == [
        {"items_processed": 0, "items_failed": 1, "error": True}
    ]


async def test_collecting_all_runs_every_item_and_reports_what_failed() -> None:
    async def odd_only(item: int) -> int:
        if item % 2 == 0:
            raise ValueError(f"{item} is even")
        return item

    outcome = await map_items([1, 2, 3, 4], odd_only, config=ALL)
    assert outcome.results == (1, 3)
    assert [error.index for error in outcome.errors] == [1, 3]


async def test_collecting_all_fails_only_when_none_succeeded() -> None:
    async def never(item: int) -> int:
        raise ValueError("no" if item else "special")

    with pytest.raises(ParallelError) as caught:
        await map_items([0, 1, 2], never, config=ALL)
    # the most frequent first
    assert str(caught.value).index("no") < str(caught.value).index("special")
    assert (await map_items([], never, config=ALL)).results == ()


async def test_the_summary_of_failures_is_stable() -> None:
    messages = ["b", "a", "c", "a", "b"]

    async def fail(item: int) -> int:
        raise ValueError(messages[item])

    for workers in (1, 2, 5):
        config = ParallelConfig(max_workers=workers, fail_fast=False)
        with pytest.raises(ParallelError) as caught:
            await map_items(range(5), fail, config=config)
        text = str(caught.value)
        # b and a twice each, b first by its first index
        assert (
            text.index("b (item 0") < text.index("a (item 1") < text.index("c (item 2")
        )


async def test_progress_counts_successes_without_gaps() -> None:
    progress: list[tuple[int, int]] = []

    async def odd_only(item: int) -> int:
        if item % 2 == 0:
            raise ValueError
        return item

    await map_items(
        range(10), odd_only, lambda *reported: progress.append(reported[:2]), config=ALL
    )
    assert progress == [(count, 10) for count in range(1, 6)]


async def test_a_parallel_cancelled_before_its_start_starts_no_item() -> None:
    cancellation, listener = Cancellation(), Listener()
    cancellation.cancel()
    with pytest.raises(ParallelError) as caught:
        await map_items([1, 2], double, cancellation=cancellation, observer=listener)
    assert caught.value.code == "parallel.cancelled"
    assert listener.types == ["parallel.start", "parallel.complete"]


async def test_cancellation_interrupts_items_and_stores_finished_results() -> None:
    shop, cancellation = Workshop(1, 2, 3), Cancellation()
    config = ParallelConfig(max_workers=2)
    run = asyncio.create_task(
        map_items([1, 2, 3], shop.work, config=config, cancellation=cancellation)
    )
    await shop.let_go(1)
    await shop.entered[3].wait()
    cancellation.cancel("enough")
    with pytest.raises(ParallelError) as caught:
        await run
    assert (caught.value.code, caught.value.results) == ("parallel.cancelled", (10,))
    assert sorted(shop.interrupted) == [2, 3]
    assert run.cancelling() == 0


async def test_cancellation_outranks_failures_but_not_a_complete_result() -> None:
    def cancelling(last: int, *, fails: bool) -> Any:
        async def work(item: int) -> int:
            if item == last:
                cancellation.cancel()
                if fails:
                    raise ValueError("bad")
            return item

        return work

    one = ParallelConfig(max_workers=1)
    cancellation = Cancellation()
    outcome = await map_items(
        [1, 2], cancelling(2, fails=False), config=one, cancellation=cancellation
    )
    assert outcome.results == (1, 2)
    cancellation = Cancellation()
    with pytest.raises(ParallelError) as caught:
        await map_items(
            [1, 2], cancelling(2, fails=True), config=one, cancellation=cancellation
        )
    assert caught.value.code == "parallel.cancelled"
    cancellation = Cancellation()
    collect = ParallelConfig(max_workers=1, fail_fast=False)
    outcome = await map_items(
        [1, 2], cancelling(2, fails=True), config=collect, cancellation=cancellation
    )
    assert (outcome.results, len(outcome.errors)) == ((1,), 1)


async def test_a_cancellation_of_the_task_itself_passes_unchanged() -> None:
    shop = Workshop(1, 2)
    run = asyncio.create_task(
        map_items([1, 2], shop.work, config=ParallelConfig(max_workers=2))
    )
    await shop.entered[2].wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sorted(shop.interrupted) == [1, 2]


async def test_an_unknown_observer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        await map_items([1], double, config=ParallelConfig(observer="nobody"))


async def test_an_error_of_the_progress_callback_is_no_failure_of_an_item() -> None:
    def broken(finished: int, total: int, value: int) -> None:
        raise ZeroDivisionError("in the callback")

    with pytest.raises(ZeroDivisionError, match="in the callback"):
        await map_items([1, 2, 3], double, broken, config=ParallelConfig(max_workers=3))


async def test_a_signal_that_no_one_sent_fails_the_item_that_raised_it() -> None:
    async def lost(item: int) -> int:
        if item == 1:
            raise Superseded
        await asyncio.Event().wait()
        return item

    with pytest.raises(ParallelError, match="Superseded") as caught:
        await map_items([1, 2, 3], lost, config=ParallelConfig(max_workers=3))
    assert isinstance(caught.value.__cause__, ExitRaised)


async def test_an_item_that_cancels_its_own_task_fails_and_no_item_is_left_out() -> (
    None
):
    async def odd(item: int) -> int:
        if item == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()
        return item

    config = ParallelConfig(max_workers=1, fail_fast=False)
    outcome = await map_items([0, 1, 2, 3], odd, config=config)
    assert outcome.results == (0, 2, 3)
    assert [error.index for error in outcome.errors] == [1]


async def test_an_item_cannot_pause_the_run() -> None:
    async def pauses(item: int) -> int:
        raise Paused("wait")

    with pytest.raises(ParallelError, match="cannot pause"):
        await map_items([1], pauses)


async def test_an_item_that_awaits_something_cancelled_has_failed() -> None:
    async def odd(item: int) -> int:
        raise asyncio.CancelledError

    with pytest.raises(ParallelError, match="was cancelled") as caught:
        await map_items([1], odd)
    assert caught.value.code == "parallel.failed"


async def test_sync_items_run_in_parallel_threads() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(item: int) -> int:
        both.wait()
        return item

    outcome = await map_items([1, 2], meet, config=ParallelConfig(max_workers=2))
    assert outcome.results == (1, 2)


# As a node


class Verdict(BaseModel):
    label: str
    sure: float


class Pages(State):
    pages: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    failed: tuple[int, ...] = ()


@node
async def judge(page: str) -> Verdict:
    """Judge a page."""
    return Verdict(label=page.upper(), sure=0.5)


def pages(*texts: str) -> Pages:
    return Pages(pages=texts).stamped(run_id="r1")


async def test_a_parallel_node_works_over_one_field_into_another() -> None:
    runs = Runs()
    graph = runs.line(
        parallel(judge, over="pages", into="verdicts", limit=4, name="all")
    )
    end = await graph.execute(pages("a", "b", "c"))
    assert [verdict.label for verdict in end.verdicts] == ["A", "B", "C"]
    (shape,) = graph.describe().nodes
    assert (shape.kind, shape.doc) == ("parallel", "Judge a page.")
    assert {event.source for event in runs.listener.events} == {"g"}
    assert runs.listener.data("parallel.start")[0]["worker_count"] == 4


async def test_an_aggregator_receives_typed_results_and_errors() -> None:
    async def judge_some(page: str) -> Verdict:
        if page == "b":
            raise ValueError("illegible")
        return Verdict(label=page, sure=1)

    def gather(state: Pages, results: list[Verdict], errors: list[ItemError]) -> Pages:
        assert all(isinstance(result, Verdict) for result in results)
        return state.set(verdicts=results, failed=[error.index for error in errors])

    collect = parallel(
        judge_some, over="pages", into=gather, fail_fast=False, name="all"
    )
    end = await Runs().line(collect).execute(pages("a", "b", "c"))
    assert (len(end.verdicts), end.failed) == (2, (1,))


async def test_every_item_receives_its_key_and_try_number() -> None:
    keys: list[tuple[str, int]] = []

    class Runtime:
        def at(self, context: NodeContext) -> NodeContext:
            return context

    @node(retry=Retry(attempts=2, wait=5))
    async def flaky(item: int, runtime: NodeContext) -> int:
        keys.append((runtime.key, runtime.try_number))
        if item == 2 and runtime.try_number == 1:
            raise ValueError("once")
        return item

    runs = Runs()
    graph = runs.line(parallel(flaky, over="items", into="out", limit=1, name="all"))
    end = await graph.execute(start(items=[1, 2]), runtime=Runtime())
    assert end["out"] == [1, 2]
    assert keys == [("r1/all/1/0", 1), ("r1/all/1/1", 1), ("r1/all/1/1", 2)]
    (retry,) = runs.listener.data("node.retry")
    assert (retry["item_index"], retry["try"], retry["wait_seconds"]) == (1, 1, 5)
    assert runs.clock.slept == [5]


async def test_the_timeout_of_an_item_applies_to_each_item() -> None:
    @node(timeout=0.01)
    async def slow(item: int) -> int:
        if item == 2:
            await asyncio.Event().wait()
        return item

    graph = Runs().line(
        parallel(slow, over="items", into="out", fail_fast=False, name="all")
    )
    assert (await graph.execute(start(items=[1, 2, 3])))["out"] == [1, 3]
    strict = Runs().line(parallel(slow, over="items", into="out", name="all"))
    with pytest.raises(ExecutionError, match="did not finish") as caught:
        await strict.execute(start(items=[2]))
    assert isinstance(caught.value.__cause__, ParallelError)
    assert isinstance(caught.value.__cause__.__cause__, NodeTimedOut)


async def test_finished_items_are_stored_and_not_executed_again() -> None:
    runs, ran = Runs(), list[int]()

    @node
    async def work(item: int) -> date:
        ran.append(item)
        if item == 3 and ran.count(3) == 1:
            raise ValueError("once")
        return date(2026, 1, item)

    def gather(state: State, results: list[date]) -> State:
        assert all(type(result) is date for result in results)
        return state.set(days=[str(result) for result in results])

    graph = runs.line(parallel(work, over="items", into=gather, limit=1, name="all"))
    with pytest.raises(ExecutionError, match="once"):
        await graph.execute(start(items=[1, 2, 3, 4]))
    assert ran == [1, 2, 3]
    runs.listener.events.clear()
    end = await graph.resume("r1")
    assert ran == [1, 2, 3, 3, 4]
    assert end["days"] == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    assert runs.listener.data("parallel.start")[0]["kept"] == 2
    assert [data["item_index"] for data in runs.listener.data("worker.start")] == [2, 3]


async def test_a_run_cancelled_in_a_late_item_resumes_with_the_finished_items() -> None:
    runs, cancellation, ran = Runs(), Cancellation(), list[int]()

    async def work(item: int) -> int:
        ran.append(item)
        if item == 900 and not cancellation.cancelled:
            cancellation.cancel()
        return item

    graph = runs.line(parallel(work, over="items", into="out", limit=4, name="all"))
    with pytest.raises(ExecutionError) as caught:
        await graph.execute(start(items=list(range(1000))), cancellation=cancellation)
    assert caught.value.is_cancelled
    end = await graph.resume("r1")
    assert sorted(ran) == list(range(1000))
    assert end["out"] == list(range(1000))


async def test_items_of_another_step_are_not_reused() -> None:
    async def add(item: int) -> int:
        return item + 1

    runs = Runs()
    again = parallel(add, over="items", into="items", name="again")
    other = parallel(add, over="items", into="items", name="other")
    end = await runs.line(again, other).execute(start(items=[1, 2]))
    assert end["items"] == [3, 4]


async def test_a_result_that_cannot_be_stored_fails_its_item() -> None:
    async def odd(item: int) -> Any:
        return object() if item == 2 else item

    graph = Runs().line(parallel(odd, over="items", into="out", name="all"))
    with pytest.raises(ExecutionError) as caught:
        await graph.execute(start(items=[1, 2]))
    assert isinstance(caught.value.__cause__, ParallelError)
    assert caught.value.__cause__.errors[0].index == 1


async def test_a_store_without_item_storage_is_accepted() -> None:
    class Plain:
        def __init__(self) -> None:
            self.inner = MemoryStore()
            self.save = self.inner.save
            self.load = self.inner.load
            self.delete = self.inner.delete
            self.list = self.inner.list

    graph = Runs(store=Plain()).line(
        parallel(double, over="items", into="out", name="all")
    )
    assert (await graph.execute(start(items=[1, 2])))["out"] == [2, 4]


async def test_a_cancelled_parallel_node_is_a_cancelled_run() -> None:
    shop, runs, cancellation = Workshop(1, 2), Runs(), Cancellation()
    graph = runs.line(
        parallel(shop.work, over="items", into="out", limit=2, name="all")
    )
    run = asyncio.create_task(
        graph.execute(start(items=[1, 2]), cancellation=cancellation)
    )
    await shop.entered[2].wait()
    cancellation.cancel()
    with pytest.raises(ExecutionError) as caught:
        await run
    assert (caught.value.code, caught.value.is_cancelled) == ("node_failed", True)
    assert sorted(shop.interrupted) == [1, 2]


async def test_a_stopping_server_interrupts_items_and_stores_finished_ones() -> None:
    shop, runs = Workshop(1, 2, 3), Runs()
    graph = runs.line(
        parallel(shop.work, over="items", into="out", limit=2, name="all")
    )
    run = asyncio.create_task(graph.execute(start(items=[1, 2, 3])))
    await shop.let_go(1)
    await shop.entered[3].wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert runs.store.saved_items("r1", 1) == {0: 10}


async def test_an_empty_input_returns_an_empty_list() -> None:
    runs = Runs()
    graph = runs.line(parallel(double, over="items", into="out", name="all"))
    assert (await graph.execute(start(items=[])))["out"] == []
    assert runs.listener.data("parallel.complete")[0]["items_processed"] == 0


async def test_an_open_state_receives_models_as_plain_values() -> None:
    graph = Runs().line(parallel(judge, over="pages", into="verdicts", name="all"))
    end = await graph.execute(start(pages=["a"]))
    assert end["verdicts"] == [{"label": "A", "sure": 0.5}]


@pytest.mark.parametrize(
    "options", [{"limit": -1}, {"config": ParallelConfig(worker_cap=-1)}]
)
def test_fewer_than_no_workers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="fewer than 0"):
        parallel(double, over="items", into="out", **options)


async def test_without_checkpoints_no_item_is_stored() -> None:
    runs = Runs(interval=0)
    graph = runs.line(parallel(double, over="items", into="out", name="all"))
    await graph.execute(start(items=[1, 2]))
    assert runs.store.saved_items("r1", 1) == {}
