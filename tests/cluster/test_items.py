"""Items of `parallel(…, on="dask")` on a cluster of two workers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import remote_functions as remote
from tests.engine import sent_items as items
from tests.engine.test_isolation import run, until
from workflows.cluster.dask_cluster import DaskCluster
from workflows.engine import (
    Cancellation,
    ExecutionError,
    NodeTimedOut,
    Paused,
    ProcessDied,
    parallel,
)
from workflows.engine.errors import ParallelError
from workflows.runtime import FakeAgents, FakeDocuments, FakeRuntime, Reply

pytestmark = pytest.mark.usefixtures("cluster")


def on_dask(item: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"over": items.tasks, "into": "results", "on": "dask"}
    return parallel(item, **(given | options))


def state(directory: Path, *numbers: int) -> items.Numbers:
    return items.Numbers(numbers=numbers, directory=str(directory))


async def failure_of(
    step: Any, given: items.Numbers, cancellation: Cancellation | None = None
) -> BaseException:
    with pytest.raises(ExecutionError) as caught:
        await run(step, given, cancellation=cancellation)
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


async def test_async_items_use_the_agents_and_the_log_of_the_run(
    tmp_path: Path,
) -> None:
    agents, documents = FakeAgents(helper=["hello"] * 6), FakeDocuments()
    variables = {"town": "Ghent"}
    runtime = FakeRuntime(agents=agents, documents=documents, variables=variables)
    after = await run(on_dask(remote.greet), state(tmp_path, *range(6)), runtime)
    assert [one.number for one in after.results] == [*range(6)]
    assert os.getpid() not in {one.pid for one in after.results}
    assert len(agents.calls) == 6
    assert {one.name for one in documents.made} == {f"{n}.txt" for n in range(6)}
    assert "item 4 has key " in runtime.logger.text
    assert "item 4 of node “step” runs on tcp://127.0.0.1:" in runtime.logger.text


class UsedUp(Paused):
    """A pause that cannot be pickled, like that of a budget."""

    again = True

    def __init__(self, of: list[int]) -> None:
        super().__init__("approval", question=f"{sum(of)} were used. Allow more?")


class WithoutBudget(FakeAgents):
    """Agents whose budget is used up."""

    async def chat(self, *_: Any, **__: Any) -> Reply:
        raise UsedUp([1, 2])


async def test_a_call_for_which_the_run_has_to_wait_pauses_it(tmp_path: Path) -> None:
    runtime = FakeRuntime(agents=WithoutBudget(), variables={"town": "Ghent"})
    with pytest.raises(UsedUp, match="approval") as caught:
        await run(on_dask(remote.greet), state(tmp_path, 1), runtime)
    assert caught.value.question == "3 were used. Allow more?"


async def test_sync_items_run_in_processes_of_the_workers(tmp_path: Path) -> None:
    step = on_dask(items.dies_once)
    after = await run(step, state(tmp_path, 1, 2, 3))
    assert [one.number for one in after.results] == [1, 2, 3]


async def test_an_item_that_ends_its_process_fails_alone() -> None:
    step = on_dask(items.dies_on_two, over="numbers", fail_fast=False)
    after = await run(step, items.Numbers(numbers=(1, 2, 3)))
    assert [one.number for one in after.results] == [1, 3]
    error = await failure_of(step, items.Numbers(numbers=(2,)))
    assert isinstance(error, ParallelError)
    assert isinstance(error.errors[0].cause, ProcessDied)
    assert "ended with signal 9 (SIGKILL)" in error.errors[0].message


async def test_the_error_of_an_item_is_that_of_its_function(tmp_path: Path) -> None:
    error = await failure_of(on_dask(remote.fails), state(tmp_path, 7))
    assert isinstance(error, ParallelError)
    assert isinstance(error.errors[0].cause, ValueError)
    assert error.errors[0].message == "no 7"


async def test_a_cancel_stops_the_items_on_the_workers(tmp_path: Path) -> None:
    cancellation = Cancellation()
    step = on_dask(remote.waits_for_ever, limit=2)
    task = asyncio.create_task(failure_of(step, state(tmp_path, 1, 2), cancellation))
    await until(lambda: len([*tmp_path.glob("began-*")]) == 2)
    cancellation.cancel("enough")
    await task
    await until(lambda: len([*tmp_path.glob("ended-*")]) == 2)


async def test_a_timeout_kills_the_process_of_a_sync_item(tmp_path: Path) -> None:
    error = await failure_of(on_dask(items.times_out), state(tmp_path, 1))
    assert isinstance(error, ParallelError)
    assert isinstance(error.errors[0].cause, NodeTimedOut)
    pid = int((tmp_path / "pids-1").read_text().split()[0])
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_more_items_than_the_cluster_has_threads_are_given_to_it_at_once(
    cluster: DaskCluster,
) -> None:
    async with asyncio.timeout(30):
        while not await cluster.concurrency():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.02)
    assert await cluster.concurrency() in {2, 4}  # a worker may still be starting
