"""Forks that fail half-way, are made by several callers, or lose their worker."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from tests.support.failing_statements import FailsAt
from tests.support.lost_workers import Commits
from tests.support.orders import (
    Calls,
    asks,
    findings,
    launched,
    ordering,
    rows,
    state_of,
)
from tests.support.workers import ended, working
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


async def request_of(kind: ForkKind, origin: Run) -> ForkRequest:
    """Return a fork of this kind, of a run whose approval was the fourth step."""
    if kind == ForkKind.OVERRIDE:
        return ForkRequest(3, kind, edge=0)
    if kind == ForkKind.RESPONSE:
        return ForkRequest(4, kind, response={"outcome": "reject"})
    return ForkRequest(3, state={**await state_of(origin, 2), "total": 3})


async def answered(system: System, user: User) -> Run:
    """Return a run that ended after a person had responded to its fourth step."""
    run = await run_in_db(lambda: system.execute("order", {"amount": 20}))
    run = await asks(run)
    response = {"outcome": "pay"}
    await run_in_db(lambda: system.respond(run.pk, response, by=user, comment="yes"))
    return await ended(run.pk)


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


def forked_at_last(system: System, origin: Run, request: ForkRequest) -> int:
    """Make a fork that fails at each of its statements in turn; return their number."""
    before = counts()
    for number in itertools.count(1):
        failing = FailsAt(number)
        try:
            with connection.execute_wrapper(failing):
                system.fork(origin.pk, request, by=None, idempotency_key=request.kind)
        except OperationalError:
            assert counts() == before
        else:
            return number
    raise AssertionError


KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind == ForkKind.OVERRIDE else pytest.mark.slow)
        for kind in ForkKind
    ],
)


@KINDS
async def test_a_fork_that_fails_at_any_statement_leaves_nothing_and_is_made_once(
    system: System, registry: Registry, admin: User, kind: ForkKind
) -> None:
    async with working(registry):
        origin = await answered(system, admin)
    request = await request_of(kind, origin)
    assert await run_in_db(forked_at_last, system, origin, request) > 20
    again = await run_in_db(
        lambda: system.fork(origin.pk, request, by=None, idempotency_key=kind)
    )
    assert again.already_launched
    assert await run_in_db(Fork.objects.count) == 1
    assert await findings() == []


@KINDS
async def test_a_fork_whose_worker_is_killed_after_any_commit_ends_the_same(
    system: System,
    registry: Registry,
    admin: User,
    monkeypatch: pytest.MonkeyPatch,
    kind: ForkKind,
) -> None:
    commits = Commits(monkeypatch)
    end = "rejected" if kind == ForkKind.RESPONSE else "paid"
    times_lost = 0
    async with working(registry):
        origin = await answered(system, admin)
        request = await request_of(kind, origin)
        for number in itertools.count():
            commits.lost_after = number
            fork = await run_in_db(made, system, origin, request)
            fork = await ended(fork.pk)
            assert (fork.status, fork.result and fork.result["end"]) == (
                "completed",
                end,
            ), number
            times_lost += await run_in_db(lost_attempts, fork)
            if commits.made[fork.pk] < number:
                break
    assert times_lost >= 1, "of the commits after which a worker holds the run"
    assert await findings() == []


def made(system: System, origin: Run, request: ForkRequest) -> Run:
    return system.fork(origin.pk, request, by=None)


def lost_attempts(run: Run) -> int:
    return Attempt.objects.filter(run=run, outcome=Outcome.LOST).count()


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
