"""Forks that fail half-way, are made by several callers, or lose their worker."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from django.db import OperationalError, connection

from tests.support.orders import (
    Calls,
    asks,
    findings,
    launched,
    ordering,
    rows,
)
from tests.support.workers import working
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    Fork,
    ForkKind,
    Outcome,
    Run,
    Stage,
    StageItem,
)
from workflows.registry import Registry
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def system(registry: Registry, calls: Calls, transactional_db: None) -> System:
    for workflow in ordering(calls):
        registry.register(workflow)
    return System(registry)


class FailsAt:
    """Lets the statement with this number fail, as if the process ended there."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, execute: Any, *statement: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise OperationalError("the connection is gone")
        return execute(*statement)


def counts() -> list[int]:
    """Return the number of rows of everything that a fork inserts."""
    models: tuple[Any, ...] = (
        Run,
        Fork,
        Stage,
        Decision,
        Checkpoint,
        Attempt,
        StageItem,
    )
    return [model.objects.count() for model in models]


def forked_at_last(system: System, origin: Run) -> int:
    """Make a fork that fails at each of its statements in turn; return their number."""
    before = counts()
    request = ForkRequest(3, ForkKind.OVERRIDE, edge=1)
    for number in itertools.count(1):
        failing = FailsAt(number)
        try:
            with connection.execute_wrapper(failing):
                system.fork(origin.pk, request, by=None, idempotency_key="one")
        except OperationalError:
            assert counts() == before
        else:
            return number
    raise AssertionError


async def test_a_fork_that_fails_at_any_statement_leaves_nothing_and_is_made_once(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
    assert await run_in_db(lambda: forked_at_last(system, origin)) > 20
    request = ForkRequest(3, ForkKind.OVERRIDE, edge=1)
    again = await run_in_db(
        lambda: system.fork(origin.pk, request, by=None, idempotency_key="one")
    )
    assert again.already_launched
    assert await run_in_db(Fork.objects.count) == 1
    assert await findings() == []


async def test_ten_callers_with_one_idempotency_key_make_one_fork(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)

    def fork() -> Run:
        return system.fork(
            origin.pk, ForkRequest(4), by=None, idempotency_key="at once"
        )

    made = await asyncio.gather(*(run_in_db(fork) for _ in range(10)))
    assert len({run.pk for run in made}) == 1
    assert await run_in_db(Fork.objects.count) == 1


async def test_a_fork_whose_worker_is_lost_keeps_to_the_overridden_edge(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
    request = ForkRequest(3, ForkKind.OVERRIDE, edge=1)
    fork = await run_in_db(lambda: system.fork(origin.pk, request, by=None))
    claimed = await run_in_db(lambda: queue.claim("gone", 1))
    assert [run.pk for run in claimed.runs] == [fork.pk]
    await run_in_db(lambda: Run.objects.filter(pk=fork.pk).expire())
    async with working(registry):
        fork = await asks(fork)
    outcomes = await rows(
        Attempt.objects.filter(run=fork)
        .order_by("number")
        .values_list("outcome", flat=True)
    )
    assert outcomes[-3:] == [Outcome.FORKED, Outcome.LOST, Outcome.WAITING]
    assert await findings() == []
