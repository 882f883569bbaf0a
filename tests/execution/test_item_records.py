"""What is recorded of each item of a parallel node, and the rerun of one item."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from tests.support import lost_workers
from tests.support.lost_workers import Commits
from tests.support.workers import TIMEOUT_SECONDS, ended, until, working
from workflows.engine import Retry, State, Workflow, node, parallel
from workflows.errors import ForkRefused
from workflows.infra.database_threads import run_in_db
from workflows.models import ItemFailure, Run, Stage, StageItem
from workflows.pages.lists.step_items import failures_of, items_of_step
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.registry import Registry

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class Params(BaseModel):
    """Params of the runs."""

    numbers: tuple[int, ...] = (10, 20, 30)


class Numbers(State):
    """State of the runs."""

    params: Params
    numbers: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()


def doubling(broken: set[int], executed: list[int]) -> Workflow[Any]:
    """Return a workflow that doubles numbers, and fails at the second try of broken ones."""

    @node
    def read(state: Numbers) -> Numbers:
        return state.set(numbers=state.params.numbers)

    @node(retry=Retry(attempts=2, on=ConnectionError, wait=0))
    async def double(number: int) -> int:
        executed.append(number)
        if number in broken:
            raise ConnectionError(f"no answer for {number}")
        return number * 2

    doubles = parallel(
        double,
        over="numbers",
        into=lambda state, results: state.set(doubled=tuple(results)),
        fail_fast=True,
        limit=1,
        name="doubles",
    )

    @node
    def finish(state: Numbers) -> Numbers:
        return state

    return Workflow(
        "doubling",
        state=Numbers,
        start=read,
        routes={read: doubles, doubles: finish},
    )


def rows_of(run: Run) -> list[tuple[int, str, int | None, object, str]]:
    stage = Stage.objects.filter(run=run, sequence=2).latest("attempt")
    return [
        (row.number, row.status, row.tries, row.value, row.error or row.result)
        for row in items_of_step(run, stage, None).rows
    ]


async def test_tries_time_and_errors_are_recorded_and_a_resume_keeps_results(
    registry: Registry, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: set[int] = {20}
    executed: list[int] = []
    workflow = doubling(broken, executed)
    registry.register(workflow)
    monkeypatch.setattr(
        "workflows.pages.lists.step_items.installed_workflow", lambda _: workflow
    )
    system = System(registry)
    run = await run_in_db(system.execute, "doubling", {}, by=alice)
    async with working(registry):
        run = await ended(run.pk)
        assert run.status == "failed"
        assert await run_in_db(rows_of, run) == [
            (2, "failed", 2, 20, "no answer for 20"),
            (1, "completed", 1, 10, 20),
        ]
        failure = await run_in_db(ItemFailure.objects.get, run=run)
        assert (failure.attempt, failure.error_type) == (1, "ConnectionError")
        assert failure.duration_ms > 0
        broken.clear()
        await run_in_db(system.resume, run.pk, by=alice, reason="fixed")
        run = await until(run.pk, lambda r: r.status == "completed")
        request = ForkRequest(3)
        fork = await run_in_db(system.fork, run.pk, request, by=alice, reason="x")
    assert executed == [10, 20, 20, 20, 30]
    assert [row[1] for row in await run_in_db(rows_of, run)] == ["completed"] * 3
    shared = await run_in_db(ItemFailure.objects.get, run=fork)
    assert (shared.index, shared.attempt, shared.tries) == (1, 1, 2)


def is_done(number: int) -> bool:
    return StageItem.objects.filter(data=str(number)).exists()


def is_recorded(number: int) -> bool:
    failures = ItemFailure.objects.filter(error_message=f"no {number}")
    return is_done(number) or failures.exists()


def checking(again: list[int]) -> Workflow[Any]:
    """Return a workflow whose second item fails; `again` gets items that ran when stored.

    Each item waits for the record of the one before it, so that its commit is its own.
    """

    @node
    def read(state: Numbers) -> Numbers:
        return state.set(numbers=state.params.numbers)

    @node(retry=Retry(attempts=2, on=ConnectionError, wait=0))
    async def check(number: int) -> int:
        if await run_in_db(is_done, number):
            again.append(number)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while number % 10 and not await run_in_db(is_recorded, number - 1):  # noqa: ASYNC110 - no event for a row
                await asyncio.sleep(0)
        if number % 10 == 1:
            raise ConnectionError(f"no {number}")
        return number

    checks = parallel(
        check,
        over="numbers",
        into=lambda state, results: state.set(doubled=tuple(results)),
        fail_fast=False,
        limit=1,
        name="checks",
    )
    return Workflow("checking", state=Numbers, start=read, routes={read: checks})


async def test_a_run_that_is_lost_after_any_commit_has_one_record_of_each_item(
    registry: Registry, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[int] = []
    registry.register(checking(again))
    system, commits = System(registry), Commits(monkeypatch)
    original, stored = (
        lost_workers.lose,
        list[int](),
    )  # the number of records at each loss

    def lose(run_id: UUID) -> None:
        stored.append(len(records_of(Run.objects.get(pk=run_id))))
        original(run_id)

    monkeypatch.setattr(lost_workers, "lose", lose)
    async with working(registry):
        for number in range(1, 10):
            commits.lost_after = number
            params = {"numbers": [10 * number, 10 * number + 1, 10 * number + 2]}
            run = await run_in_db(system.execute, "checking", params, by=alice)
            run = await ended(run.pk)
            assert run.status == "completed", number
            assert await run_in_db(records_of, run) == [
                (0, 1, None),
                (2, 1, None),
                (1, 2, run.attempt),
            ], number
            if {1, 2, 3} <= set(stored):
                break
    assert {1, 2, 3} <= set(stored), "it was lost after the commit of each item"
    assert again == []


def records_of(run: Run) -> list[tuple[int, int | None, int | None]]:
    """Return index and tries of each item, and the attempt in which it failed."""
    done = StageItem.objects.filter(run=run, sequence=2).order_by("index")
    return [
        *((row.index, row.tries, None) for row in done),
        *((row.index, row.tries, row.attempt) for row in failures_of(run, 2)),
    ]


async def test_one_item_runs_again_in_a_fork_that_keeps_the_others(
    registry: Registry, alice: User
) -> None:
    executed: list[int] = []
    registry.register(doubling(set(), executed))
    system = System(registry)
    run = await run_in_db(system.execute, "doubling", {}, by=alice)
    async with working(registry):
        run = await ended(run.pk)
        executed.clear()
        request = ForkRequest(2, item=1)
        made = await run_in_db(system.fork, run.pk, request, by=alice, reason="one")
        forked = await until(made.pk, lambda r: r.status == "completed")
    assert executed == [20]
    assert forked.result is not None
    assert forked.result["doubled"] == [20, 40, 60]
    items = await run_in_db(lambda: StageItem.objects.filter(run=forked).count())
    assert items == 3
    for refused in (
        ForkRequest(2, item=3),
        ForkRequest(1, item=0),
        ForkRequest(2, item=0, state={"numbers": [1]}),
    ):
        with pytest.raises(ForkRefused):
            await run_in_db(system.fork, run.pk, refused, by=alice, reason="one")
