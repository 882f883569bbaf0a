"""`parallel(…, on="processes")`: items run in kept child processes of the worker."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import sent_items as items
from tests.engine.test_isolation import is_gone, run, until
from workflows.engine import (
    Cancellation,
    DefinitionError,
    ExecutionError,
    Isolation,
    NodeTimedOut,
    ProcessDied,
    Workflow,
    chain,
    kept_processes,
    node,
    parallel,
)
from workflows.engine.errors import Cancelled, ExitRaised, ItemError, ParallelError
from workflows.engine.isolation import Work
from workflows.engine.kept_processes import KeptProcesses
from workflows.engine.testing import run_in_memory
from workflows.engine.threads import ThreadPool
from workflows.runtime.fakes import FakeRuntime


@pytest.fixture(autouse=True)
def _processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test two processes of its own."""
    monkeypatch.setattr(kept_processes, "processes", KeptProcesses(2))
    monkeypatch.setattr(kept_processes, "threads", ThreadPool(2))
    yield
    kept_processes.processes.close()


def squares(item: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"over": "numbers", "into": "results", "on": "processes"}
    return parallel(item, **(given | options))


async def failure_of(
    step: Any, state: items.Numbers, cancellation: Cancellation | None = None
) -> BaseException:
    with pytest.raises(ExecutionError) as caught:
        await run(step, state, cancellation=cancellation)
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


async def test_items_run_in_processes_that_are_kept_for_the_next_ones() -> None:
    runtime = FakeRuntime()
    after = await run(
        squares(items.cube), items.Numbers(numbers=tuple(range(8))), runtime
    )
    assert [one.number for one in after.results] == [one**3 for one in range(8)]
    pids = {one.pid for one in after.results}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert {*kept_processes.processes.pids} == pids
    assert "cube of 3 by " in runtime.logger.text
    again = await run(squares(items.cube), items.Numbers(numbers=(1,)), runtime)
    assert again.results[0].pid in pids


async def test_the_processes_of_a_function_run_no_other_function() -> None:
    first = await run(squares(items.square), items.Numbers(numbers=(1, 2)))
    other = await run(squares(items.cube), items.Numbers(numbers=(1, 2)))
    assert not {one.pid for one in first.results} & {one.pid for one in other.results}
    assert len(kept_processes.processes.pids) <= 2


async def test_an_item_that_ends_its_process_fails_alone() -> None:
    collected: list[ItemError] = []

    def keep(state: Any, results: list[Any], errors: list[ItemError]) -> Any:
        collected.extend(errors)
        return state.set(results=results)

    step = squares(items.dies_on_two, into=keep, fail_fast=False)
    after = await run(step, items.Numbers(numbers=(1, 2, 3)))
    assert [one.number for one in after.results] == [1, 3]
    (error,) = collected
    assert isinstance(error.cause, ProcessDied)
    assert error.message.startswith(
        "The process of item 1 of node “step” ended with signal 9 (SIGKILL)"
    )


async def test_an_item_whose_process_ended_is_tried_again_in_another(
    tmp_path: Path,
) -> None:
    state = items.Numbers(numbers=(1, 2), directory=str(tmp_path))
    after = await run(squares(items.dies_once, over=items.tasks), state)
    assert [one.number for one in after.results] == [1, 2]


async def test_a_cancel_kills_the_processes_and_what_they_started(
    tmp_path: Path,
) -> None:
    state = items.Numbers(numbers=(1, 2), directory=str(tmp_path))
    cancellation = Cancellation()
    step = squares(items.hangs, over=items.tasks, limit=2)
    task = asyncio.create_task(failure_of(step, state, cancellation))
    await until(lambda: len([*tmp_path.glob("pids-?")]) == 2)
    cancellation.cancel("enough")
    assert isinstance(await task, Cancelled)
    for path in [*tmp_path.glob("pids-?")]:  # noqa: ASYNC240
        for pid in path.read_text().split():
            await until(functools.partial(is_gone, int(pid)))
    assert kept_processes.processes.pids == []


async def test_a_timeout_kills_the_process(tmp_path: Path) -> None:
    state = items.Numbers(numbers=(1,), directory=str(tmp_path))
    error = await failure_of(squares(items.times_out, over=items.tasks), state)
    assert isinstance(error, ParallelError)
    assert isinstance(error.errors[0].cause, NodeTimedOut)
    (pid, sleeper) = map(int, (tmp_path / "pids-1").read_text().split())
    await until(lambda: is_gone(pid) and is_gone(sleeper))


@pytest.mark.parametrize(
    ("item", "kind", "text"),
    [
        (items.exits, ExitRaised, "1"),
        (items.unsendable, Exception, "cannot be passed between processes"),
    ],
)
async def test_any_failure_of_an_item_is_its_own(
    item: Any, kind: type[Exception], text: str
) -> None:
    error = await failure_of(squares(item), items.Numbers(numbers=(1,)))
    assert isinstance(error, ParallelError)
    assert isinstance(error.errors[0].cause, kind)
    assert text in error.errors[0].message


async def test_what_a_process_sends_after_its_call_is_no_result_of_another() -> None:
    step = squares(items.sends_too_much)
    first = await run(step, items.Numbers(numbers=(1,)))
    (pid,) = kept_processes.processes.pids
    assert first.results[0].pid == pid
    idle = kept_processes.processes._idle[0]  # noqa: SLF001
    await until(lambda: not kept_processes._is_usable(idle.child))  # noqa: SLF001
    second = await run(step, items.Numbers(numbers=(2,)))
    assert second.results[0].number == 2
    assert second.results[0].pid != pid
    assert is_gone(pid)


def test_a_process_without_calls_ends_after_a_while() -> None:
    processes = KeptProcesses(2, idle_seconds=0.05)
    work = Work(items.square.function, 3, accepts_runtime=False)
    result = processes.call(work, None, items.context_of(0))
    deadline = time.monotonic() + 30
    while not is_gone(result.pid):
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    assert processes.pids == []


def test_closing_ends_the_processes_without_a_call() -> None:
    processes = KeptProcesses(2)
    work = Work(items.square.function, 3, accepts_runtime=False)
    result = processes.call(work, None, items.context_of(0))
    processes.close()
    assert is_gone(result.pid)
    assert processes.call(work, None, items.context_of(0)).number == 9  # starts another
    processes.close()


def test_a_run_in_memory_uses_processes_as_well() -> None:
    step = squares(items.square, name="squares")
    workflow = Workflow("squares", state=items.Numbers, start=step, routes={})
    outcome = run_in_memory(workflow, {"numbers": [2, 3]})
    assert [one.number for one in outcome.state.results] == [4, 9]
    assert os.getpid() not in {one.pid for one in outcome.state.results}


def test_the_place_of_items_is_no_part_of_the_fingerprint() -> None:
    def workflow(on: Any) -> Workflow[Any]:
        step = parallel(items.square, "numbers", "results", name="squares", on=on)
        return Workflow("squares", state=items.Numbers, start=step, routes={})

    prints = {workflow(on).fingerprint for on in (None, "processes", "dask")}
    assert len(prints) == 1


class Callable:
    """An object that can be called."""

    def __call__(self, number: int) -> int:
        return number


def local(number: int) -> int:
    return number


@pytest.mark.parametrize("on", ["processes", "dask"])
@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (node(name="double")(lambda number: 2 * number), "it is a lambda"),
        (Callable(), "it is an object without a name"),
        (chain(local, over="numbers"), "it is no function"),
        (
            node(isolate=Isolation(cpu_seconds=1))(local),
            "isolate= starts a separate process",
        ),
    ],
)
def test_a_function_that_cannot_be_sent_is_refused(
    item: Any, reason: str, on: Any
) -> None:
    with pytest.raises(DefinitionError, match=reason) as caught:
        parallel(item, "numbers", "results", on=on)
    assert f"cannot run on {on}" in str(caught.value)


def test_a_closure_is_refused_with_its_remedy() -> None:
    def inner(number: int) -> int:
        return number

    with pytest.raises(DefinitionError) as caught:
        parallel(inner, "numbers", "results", on="processes")
    assert str(caught.value) == (
        "Items of <node inner> cannot run on processes: it is defined inside another"
        " function, and another process imports it by name: define it at the top level of"
        " a module."
    )


def test_async_items_are_refused_on_processes_only() -> None:
    with pytest.raises(DefinitionError, match="it is async"):
        parallel(items.waits, "numbers", "results", on="processes")
    parallel(items.waits, "numbers", "results", on="dask")


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(DefinitionError, match='use "processes" or "dask"'):
        parallel(items.square, "numbers", "results", on="threads")  # type: ignore[arg-type]


async def test_without_a_cluster_items_on_dask_run_like_others() -> None:
    step = squares(items.square, on="dask")
    after = await run(step, items.Numbers(numbers=(2, 3)))
    assert [one.number for one in after.results] == [4, 9]
    assert {one.pid for one in after.results} == {os.getpid()}
