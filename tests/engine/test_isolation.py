"""A node with isolate= runs in a child process, whose end is an error of the node."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine import isolated_nodes as nodes
from workflows.engine import (
    Cancellation,
    DefinitionError,
    ExecutionError,
    Graph,
    Isolation,
    LimitExceeded,
    Node,
    NodeTimedOut,
    ProcessDied,
    State,
    node,
)
from workflows.engine.errors import ExitRaised
from workflows.runtime.fakes import FakeRuntime

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")


async def run(
    step: Node[Any, Any],
    state: State,
    runtime: object = None,
    cancellation: Cancellation | None = None,
) -> Any:
    """Return the final state of a graph of one node."""
    graph = Graph("one")
    graph.add_node("step", step)
    graph.set_entry_point("step")
    graph.set_exit_point("step")
    return await graph.execute(
        state, runtime=runtime or FakeRuntime(), cancellation=cancellation
    )


async def error_of(step: Node[Any, Any], state: State) -> BaseException:
    """Return the error of the node."""
    with pytest.raises(ExecutionError) as caught:
        await run(step, state)
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def test_state_result_and_log_pass_between_the_processes() -> None:
    runtime = FakeRuntime()
    state = nodes.Case(numbers=(1, 2)).set_secret("token", "s3cret")
    after = await run(nodes.work, state, runtime)
    assert after.pid != os.getpid()
    assert after.numbers == (1, 2, 4)
    assert after.secret("token") == "s3cret"
    assert runtime.logger.text.startswith("2 numbers in ")


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("kill", "signal 9 (SIGKILL)"),
        pytest.param("crash", "signal 11 (SIGSEGV)", marks=pytest.mark.slow),
        pytest.param("3", "exit code 3", marks=pytest.mark.slow),
        pytest.param("0", "exit code 0", marks=pytest.mark.slow),
    ],
)
async def test_the_end_of_its_process_is_an_error_of_the_node(
    how: str, cause: str
) -> None:
    error = await error_of(nodes.dies, nodes.Case(how=how))
    assert isinstance(error, ProcessDied)
    assert str(error).startswith(
        f"The process of node “step” ended with {cause}; peak memory "
    )


@linux_only
async def test_a_node_that_exceeds_its_memory_fails_with_its_limit() -> None:
    error = await error_of(nodes.fills_memory, nodes.Case())
    assert isinstance(error, LimitExceeded)
    assert str(error) == "Node “step” exceeded its limit of 200 MB of memory."


@pytest.mark.slow
async def test_a_node_that_exceeds_its_cpu_time_fails_with_its_limit() -> None:
    error = await error_of(nodes.burns, nodes.Case())
    assert isinstance(error, LimitExceeded)
    assert str(error) == "Node “step” exceeded its limit of 1 s of CPU time."


@pytest.mark.slow
async def test_another_try_gets_another_process(tmp_path: Path) -> None:
    after = await run(nodes.dies_once, nodes.Case(path=str(tmp_path / "tried")))
    assert after.pid


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("unpicklable error", RuntimeError, "Unpicklable: this and that"),
        ("unpicklable result", Exception, "cannot be passed between processes"),
        ("exit", ExitRaised, "3"),
        ("failed", Exception, "no number"),
        ("agents", Exception, "Agents are not available in a node with isolate="),
        ("closed pipes", ProcessDied, "before it returned a result"),
    ],
)
@pytest.mark.slow
async def test_any_failure_of_the_function_is_an_error_of_the_node(
    how: str, kind: type[Exception], text: str
) -> None:
    error = await error_of(nodes.misbehaves, nodes.Case(how=how))
    assert isinstance(error, kind), repr(error)
    assert text in str(error)


async def test_a_cancel_kills_the_process_and_what_it_started(tmp_path: Path) -> None:
    path, cancellation = tmp_path / "pids", Cancellation()
    task = asyncio.create_task(
        run(nodes.hangs, nodes.Case(path=str(path)), cancellation=cancellation)
    )
    await until(path.exists)
    cancellation.cancel("enough")
    with pytest.raises(ExecutionError) as caught:
        await task
    assert caught.value.is_cancelled
    pids = [int(pid) for pid in path.read_text().split()]
    await until(lambda: all(map(is_gone, pids)))


@pytest.mark.slow
async def test_a_timeout_kills_the_process_and_what_it_started(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    error = await error_of(nodes.hangs_beyond_its_timeout, nodes.Case(path=str(path)))
    assert isinstance(error, NodeTimedOut)
    pids = [int(pid) for pid in path.read_text().split()]
    await until(lambda: all(map(is_gone, pids)))


def test_what_no_process_can_import_or_call_is_refused() -> None:
    async def waits(state: State) -> State:
        return state

    def local(state: State) -> State:
        return state

    with pytest.raises(DefinitionError, match="“waits” is async"):
        node(isolate=True)(waits)
    with pytest.raises(DefinitionError, match="at the top level of a module"):
        node(isolate=True)(local)
    with pytest.raises(DefinitionError, match=r"memory_mb=0\) is below 1"):
        Isolation(memory_mb=0)
