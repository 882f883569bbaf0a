"""A lost worker or scheduler costs only what was running there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import remote_functions as remote
from tests.engine import sent_items as items
from tests.engine.test_isolation import run, until
from tests.support.dask_cluster import DaskProcesses, kill
from workflows.cluster.dask_cluster import DaskCluster
from workflows.engine import ExecutionError, item_places, parallel
from workflows.engine.errors import ParallelError
from workflows.engine.item_places import ClusterUnavailable

FREE = "127.0.0.1:9"  # where nothing listens


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[DaskProcesses]:
    """A scheduler and two workers that a test may kill."""
    directory = tmp_path / "dask"
    directory.mkdir()
    started = DaskProcesses(directory)
    try:
        started.start_worker()
        started.start_worker()
        yield started
    finally:
        started.stop()


@pytest.fixture
def cluster(processes: DaskProcesses) -> Iterator[DaskCluster]:
    connected = DaskCluster(processes.address)
    item_places.use_cluster(connected)
    yield connected
    item_places.use_cluster(None)
    connected.close()


def waiting(limit: int, progress: Any = None) -> Any:
    return parallel(
        remote.wait_for_file,
        items.tasks,
        "results",
        on="dask",
        limit=limit,
        progress=progress,
    )


def began(directory: Path) -> dict[int, list[int]]:
    """Return the processes in which each item began."""
    found: dict[int, list[int]] = {}
    for path in directory.glob("began-*"):
        _, number, pid = path.name.split("-")
        found.setdefault(int(number), []).append(int(pid))
    return found


def let_go(directory: Path, *numbers: int) -> None:
    for number in numbers:
        (directory / f"go-{number}").touch()


@pytest.mark.usefixtures("cluster")
async def test_only_the_item_of_a_killed_worker_runs_again(
    processes: DaskProcesses, tmp_path: Path
) -> None:
    let_go(tmp_path, 1, 2, 3, 4)
    state = items.Numbers(numbers=tuple(range(1, 7)), directory=str(tmp_path))
    arrived: list[int] = []
    step = waiting(6, lambda finished, _of, _result: arrived.append(finished))
    task = asyncio.create_task(run(step, state))
    # a result that has not arrived is lost with its worker
    await until(lambda: len(arrived) == 4 and {5, 6} <= began(tmp_path).keys())
    (killed,) = began(tmp_path)[5]
    worker = next(one for one in processes.workers if one.pid == killed)
    await asyncio.to_thread(kill, worker)
    let_go(tmp_path, 5, 6)
    after = await task
    assert [one.number for one in after.results] == [1, 2, 3, 4, 5, 6]
    runs = began(tmp_path)
    assert [len(runs[number]) for number in range(1, 7)] == [1, 1, 1, 1, 2, 1]
    assert after.results[4].pid != killed


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
async def test_items_wait_for_a_scheduler_that_comes_back(
    processes: DaskProcesses, tmp_path: Path
) -> None:
    let_go(tmp_path, 1)
    state = items.Numbers(numbers=(1, 2), directory=str(tmp_path))
    task = asyncio.create_task(run(waiting(1), state))
    await until(lambda: 2 in began(tmp_path))
    for process in (processes.scheduler, *processes.workers):
        await asyncio.to_thread(kill, process)
    await asyncio.to_thread(processes.start_scheduler)
    worker = processes.start_worker()
    let_go(tmp_path, 2)
    after = await task
    assert after.results[1].pid == worker.pid
    assert {number: len(pids) for number, pids in began(tmp_path).items()} == {
        1: 1,
        2: 2,
    }


async def test_without_a_scheduler_items_fail_with_its_address(tmp_path: Path) -> None:
    cluster = DaskCluster(f"tcp://{FREE}", reconnect_seconds=0)
    item_places.use_cluster(cluster)
    try:
        with pytest.raises(ExecutionError) as caught:
            await run(waiting(1), items.Numbers(numbers=(1,), directory=str(tmp_path)))
    finally:
        item_places.use_cluster(None)
    error = caught.value.__cause__
    assert isinstance(error, ParallelError)
    assert isinstance(error.errors[0].cause, ClusterUnavailable)
    assert isinstance(error.errors[0].cause, ConnectionError)
    assert error.errors[0].message.startswith(
        f"The Dask scheduler at tcp://{FREE} (DASK_SCHEDULER) cannot be reached: "
    )
    assert began(tmp_path) == {}
