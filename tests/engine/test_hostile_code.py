"""Author code can fail its own run and nothing else, whatever it raises and wherever."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from tests.engine.hostile_code import (
    ANSWERED,
    ANSWERS,
    EXITS,
    PLACES,
    Case,
    Foreign,
    end,
)
from workflows.engine import Cancellation, Paused, Retry, State, Workflow, node
from workflows.engine.author_code import call_contained
from workflows.engine.errors import (
    Cancelled,
    ChainError,
    ExecutionError,
    ExitRaised,
    format_traceback,
)
from workflows.engine.patterns import fold
from workflows.engine.testing import run_in_memory, run_in_memory_async


@pytest.mark.parametrize("place", PLACES)
def test_any_exception_of_author_code_fails_the_run_at_its_node(place: str) -> None:
    answers = ANSWERS if place in ANSWERED else {}
    for name, (exits, message) in EXITS.items():
        outcome = run_in_memory(PLACES[place](exits), answers=answers)
        assert outcome.status == "failed", name
        assert outcome.error is not None
        assert outcome.error.node == "culprit", name
        assert message in str(outcome.error), (name, str(outcome.error))
        assert not outcome.error.is_cancelled, name
        assert not outcome.error.is_deadline, name
        assert "raise" in format_traceback(
            outcome.error
        ) or "Error" in format_traceback(outcome.error)


@pytest.mark.parametrize("place", ["async", "item async", "step async"])
async def test_an_exception_fails_the_run_on_the_loop_of_an_async_test_too(
    place: str,
) -> None:
    for name, (exits, message) in EXITS.items():
        outcome = await run_in_memory_async(PLACES[place](exits))
        assert outcome.status == "failed", name
        assert message in str(outcome.error), name


def _in_a_task(error: BaseException) -> Workflow[Any]:
    async def raises() -> None:
        raise error

    @node
    async def culprit(state: Case) -> Case:
        await asyncio.create_task(raises())
        return state

    return Workflow("hostile", state=Case, start=culprit, routes={culprit: end})


def _in_a_group(error: BaseException) -> Workflow[Any]:
    async def raises() -> None:
        raise error

    @node
    async def culprit(state: Case) -> Case:
        async with asyncio.TaskGroup() as group:
            group.create_task(raises())
            group.create_task(asyncio.sleep(60))
        return state

    return Workflow("hostile", state=Case, start=culprit, routes={culprit: end})


@pytest.mark.parametrize("made", [_in_a_task, _in_a_group])
@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Foreign("inner")]
)
def test_a_task_started_by_author_code_fails_only_its_run(
    made: Any, error: BaseException
) -> None:
    outcome = run_in_memory(made(error))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.node == "culprit"


def test_a_callback_that_would_end_the_process_is_logged_and_the_run_continues(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leave() -> None:
        raise SystemExit(3)

    @node
    async def begin(state: Case) -> Case:
        asyncio.get_running_loop().call_soon(leave)
        await asyncio.sleep(0)
        return state

    flow = Workflow("hostile", state=Case, start=begin, routes={begin: end})
    with caplog.at_level(logging.ERROR):
        assert run_in_memory(flow).status == "completed"
    assert "raised SystemExit (3); the loop continues" in caplog.text


def test_a_cancelled_run_is_cancelled_also_where_a_group_of_tasks_reports_it() -> None:
    cancellation = Cancellation()

    async def stops() -> None:
        raise Cancelled("stop it")

    @node
    async def begin(state: Case) -> Case:
        async with asyncio.TaskGroup() as group:
            cancellation.cancel("stop it")
            group.create_task(stops())
        return state

    flow = Workflow("hostile", state=Case, start=begin, routes={begin: end})
    outcome = run_in_memory(flow, cancellation=cancellation)
    assert outcome.status == "cancelled"


@pytest.mark.parametrize("is_sync", [False, True])
def test_a_node_that_cancels_its_own_task_fails_and_does_not_stop_the_run(
    is_sync: bool,
) -> None:
    async def cancel_own_task(state: Case) -> Case:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return state

    def returns_an_awaitable(state: Case) -> Any:
        return cancel_own_task(state)

    first = node(name="culprit")(returns_an_awaitable if is_sync else cancel_own_task)
    flow: Workflow[Any] = Workflow(
        "hostile", state=Case, start=first, routes={first: end}
    )
    outcome = run_in_memory(flow)
    assert outcome.status == "failed"
    assert "something that the node awaited was cancelled" in str(outcome.error)


def test_exceptions_that_would_end_the_process_are_not_retried() -> None:
    tries: list[int] = []

    @node(retry=Retry(attempts=3, wait=0))
    def begin(state: Case) -> Case:
        tries.append(1)
        raise SystemExit(3)

    flow = Workflow("hostile", state=Case, start=begin, routes={begin: end})
    outcome = run_in_memory(flow)
    assert (outcome.status, len(tries)) == ("failed", 1)


def test_params_that_would_end_the_process_raise_an_exception() -> None:
    class Deadly(State):
        @classmethod
        def _leave(cls) -> int:
            raise SystemExit(3)

    with pytest.raises(ExitRaised, match="SystemExit: 3"):
        call_contained(Deadly._leave)  # noqa: SLF001 - its own test


async def test_a_discarded_run_executes_no_further_code() -> None:
    steps: list[str] = []
    entered = asyncio.Event()

    @node
    async def begin(state: Case) -> Case:
        entered.set()
        await asyncio.Event().wait()
        return state

    @node
    def after(state: Case) -> Case:
        steps.append("after")
        return state

    flow = Workflow("hostile", state=Case, start=begin, routes={begin: after})
    loop = asyncio.new_event_loop()
    task = loop.create_task(run_in_memory_async(flow))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - meant
    await asyncio.to_thread(loop.run_until_complete, entered.wait())
    loop.close()
    del task
    gc.collect()  # closes its coroutines with GeneratorExit
    assert steps == []


async def test_an_error_that_is_its_own_cause_is_reported_once() -> None:
    async def again(state: list[int], item: int) -> list[int]:
        raise ValueError("inner")

    with pytest.raises(ChainError) as caught:
        await fold([1], [0], again)
    error = caught.value
    error.__cause__ = error
    assert str(error) == "The chain failed at step 1."
    other = ExecutionError("node_failed", node="a")
    other.__cause__, error.__cause__ = error, other
    assert "The chain failed at step 1" in str(other) or "the node failed" in str(other)


def test_a_pause_in_a_task_of_a_group_pauses_the_run() -> None:
    async def pauses() -> None:
        raise Paused("wait")

    @node
    async def begin(state: Case) -> Case:
        async with asyncio.TaskGroup() as group:
            group.create_task(pauses())
        return state

    flow = Workflow("hostile", state=Case, start=begin, routes={begin: end})
    assert run_in_memory(flow).status == "waiting"
