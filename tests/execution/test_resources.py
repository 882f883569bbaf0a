"""Resources: opened once per worker, shared by its runs, closed when the worker drains."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.engine import isolated_nodes
from tests.support.workers import ended, working
from workflows.engine import (
    DefinitionError,
    Resource,
    State,
    Workflow,
    node,
    resource,
)
from workflows.engine import resources as engine_resources
from workflows.engine.testing import run_in_memory
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Status
from workflows.registry import Registry
from workflows.runtime import FakeRuntime, Runtime
from workflows.system import System

database = pytest.mark.django_db(transaction=True)


class Pool:
    """A resource that counts how often it is opened and closed."""

    def __init__(self) -> None:
        self.opened = self.closed = self.used = 0
        self.fails: list[BaseException] = []
        self.tasks: list[object] = []

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Pool]:
        if self.fails:
            raise self.fails.pop(0)
        self.opened += 1
        self.tasks.append(asyncio.current_task())
        yield self
        self.tasks.append(asyncio.current_task())
        self.closed += 1


def workflow_of(one: Resource[Pool], name: str = "uses") -> Workflow[Any]:
    @node
    async def uses(state: State, runtime: Runtime) -> State:
        pool = runtime.get(one)
        pool.used += 1
        assert pool.opened > pool.closed
        return state

    return Workflow(name, state=State, start=uses, routes={}, resources=[one])


async def run_all(*workflows: Workflow[Any]) -> list[Run]:
    """Execute a run of each workflow at the same time, in one worker that drains then."""
    registry = Registry()
    for one in workflows:
        registry.register(one)
    system = System(registry)
    async with working(registry):
        runs = [await run_in_db(system.execute, one.name, {}) for one in workflows]
        return [await ended(run.pk) for run in runs]


@database
async def test_runs_share_a_resource_that_is_closed_by_the_task_that_opened_it() -> (
    None
):
    pool = Pool()

    @resource
    async def shared() -> AsyncIterator[Pool]:
        async with pool.session() as session:
            yield session

    runs = await run_all(*(workflow_of(shared, f"uses-{n}") for n in range(3)))
    assert {run.status for run in runs} == {Status.COMPLETED}
    assert (pool.opened, pool.used, pool.closed) == (1, 3, 1)
    assert pool.tasks[0] is pool.tasks[1]


@database
async def test_a_plain_generator_is_opened_and_closed_in_threads() -> None:
    pool = Pool()
    threads: list[threading.Thread] = []

    @resource
    def in_threads() -> Iterator[Pool]:
        threads.append(threading.current_thread())
        pool.opened += 1
        yield pool
        threads.append(threading.current_thread())
        pool.closed += 1

    [run] = await run_all(workflow_of(in_threads))
    assert run.status == Status.COMPLETED, run.error_message
    assert (pool.opened, pool.used, pool.closed) == (1, 1, 1)
    assert not any(one.name.startswith("node-loop") for one in threads)


@database
@pytest.mark.parametrize(
    "failure",
    [OSError("no route"), SystemExit(3), KeyboardInterrupt(), BaseException()],
)
async def test_a_resource_that_cannot_be_opened_fails_its_run_only_and_is_tried_again(
    failure: BaseException,
) -> None:
    pool, sound = Pool(), Pool()
    pool.fails.append(failure)

    @resource
    async def flaky() -> AsyncIterator[Pool]:
        async with pool.session() as session:
            yield session

    @resource
    async def other() -> AsyncIterator[Pool]:
        async with sound.session() as session:
            yield session

    registry = Registry()
    registry.register(workflow_of(flaky))
    registry.register(workflow_of(other, "sound"))
    system = System(registry)
    async with working(registry):
        run = await ended((await run_in_db(system.execute, "uses", {})).pk)
        other_run = await ended((await run_in_db(system.execute, "sound", {})).pk)
        again = await ended((await run_in_db(system.execute, "uses", {})).pk)
    assert run.status == Status.FAILED
    assert "The resource “flaky” could not be opened: " in run.error_message
    assert other_run.status == again.status == Status.COMPLETED
    assert (pool.opened, pool.closed) == (1, 1)


@database
async def test_a_resource_that_yields_nothing_or_hangs_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_resources, "OPEN_SECONDS", 0.05)

    @resource
    async def nothing() -> AsyncIterator[Pool]:
        if asyncio.current_task() is None:
            yield Pool()

    @resource
    async def hangs() -> AsyncIterator[Pool]:
        await asyncio.Event().wait()
        yield Pool()

    first, second = await run_all(
        workflow_of(nothing), workflow_of(hangs, "uses-another")
    )
    assert first.error_message.endswith(
        "“nothing” could not be opened: it ended without `yield`."
    )
    assert second.error_message.endswith(
        "“hangs” could not be opened: it did not open within 0.05 s."
    )


@database
async def test_a_resource_that_fails_or_hangs_at_its_end_does_not_block_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_resources, "CLOSE_SECONDS", 0.2)
    pool = Pool()
    pool.opened = 1

    @resource
    async def fails() -> AsyncIterator[Pool]:
        yield pool
        raise SystemExit(1)

    @resource
    async def twice() -> AsyncIterator[Pool]:
        yield pool
        yield pool

    @resource
    async def hangs() -> AsyncIterator[Pool]:
        yield pool
        await asyncio.Event().wait()

    runs = await run_all(
        workflow_of(fails, "a"), workflow_of(twice, "b"), workflow_of(hangs, "c")
    )
    assert {run.status for run in runs} == {Status.COMPLETED}
    assert "The resource fails could not be closed" in caplog.text
    assert (
        "The resource twice could not be closed: it yields more than once."
        in caplog.text
    )
    assert "The resource hangs was not closed within 0.2 s." in caplog.text


@resource
def declared() -> Iterator[Pool]:
    yield Pool()


def test_a_test_replaces_a_resource_by_a_fake() -> None:
    pool = Pool()
    pool.opened = 1
    outcome = run_in_memory(
        workflow_of(declared), runtime=FakeRuntime(resources={declared: pool})
    )
    assert outcome.status == "completed"
    assert pool.used == 1
    outcome = run_in_memory(workflow_of(declared), runtime=FakeRuntime())
    assert "The resource “declared” is not open here" in str(outcome.error)


def test_a_node_in_a_child_process_has_no_resources() -> None:
    workflow = Workflow(
        "isolated",
        state=isolated_nodes.Case,
        start=isolated_nodes.gets_a_resource,
        routes={},
    )
    outcome = run_in_memory(
        workflow, runtime=FakeRuntime(resources={isolated_nodes.a_resource: 1})
    )
    assert "A node with isolate= has none" in str(outcome.error)


async def plain() -> int:
    return 1


def with_parameters(size: int) -> Iterator[int]:
    yield size


@pytest.mark.parametrize(
    ("function", "says"),
    [(plain, "no generator function"), (with_parameters, "has parameters")],
)
def test_a_function_that_cannot_be_a_resource_is_refused(
    function: Any, says: str
) -> None:
    with pytest.raises(DefinitionError, match=says):
        resource(function)


def test_a_workflow_refuses_what_is_no_resource() -> None:
    wrong: Any = plain
    with pytest.raises(DefinitionError, match="decorate its function with @resource"):
        Workflow(
            "w",
            state=isolated_nodes.Case,
            start=isolated_nodes.work,
            routes={},
            resources=[wrong],
        )
