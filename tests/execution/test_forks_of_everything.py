"""Forks of forks of resumed runs, of a workflow with every kind of step that shares rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from tests.support.orders import findings, state_of
from tests.support.workers import until, working
from workflows.engine import (
    State,
    Workflow,
    approval,
    ask,
    branches,
    event,
    first_of,
    node,
    parallel,
    sleep,
    subworkflows,
)
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    ENDED,
    Approval,
    Fork,
    ForkKind,
    Run,
    Stage,
    StageKind,
    StageStatus,
)
from workflows.registry import registry as installed
from workflows.services.fork_plans import ForkRequest
from workflows.system import system

pytestmark = pytest.mark.usefixtures("sealed", "quick")

NAME = "everything"
SignIn = Callable[[User], Client]


class Verdict(BaseModel):
    outcome: Literal["pay", "reject"]


class Payment(BaseModel):
    amount: int


class Whole(State):
    count: int = 0
    numbers: tuple[int, ...] = (1, 2)
    doubled: tuple[int, ...] = ()
    parts: dict[str, Any] | None = None
    children: tuple[dict[str, Any], ...] = ()
    payment: Payment | None = None
    review: Verdict | None = None
    verdict: Verdict | None = None
    first: str = ""


class Calls:
    """What ran, and the nodes that fail once."""

    def __init__(self) -> None:
        self.undone: list[str] = []
        self.failing: set[str] = set()

    def pass_or_fail(self, name: str) -> None:
        if name in self.failing:
            self.failing.discard(name)
            raise RuntimeError(f"{name} is out of order")


class Child(State):
    number: int = 0


@pytest.fixture
def calls(transactional_db: None) -> Any:
    calls = Calls()
    for workflow in declared(calls):
        installed.register(workflow)
    yield calls
    for name in (NAME, "undoing", "child-of-everything"):
        installed.unregister(name)


def declared(calls: Calls) -> list[Workflow[Any]]:  # noqa: C901 - one node after another
    @node
    def unbook(state: Whole) -> Whole:
        calls.undone.append("unbook")
        return state

    @node
    def begin(state: Whole) -> Whole:
        return state.set(count=state.count + 1)

    @node(undo=unbook)
    def book(state: Whole) -> Whole:
        return state.set(count=state.count + 1)

    @node
    def left(state: Whole) -> int:
        return state.count

    @node
    def right(state: Whole) -> Whole:
        return state.set(count=state.count + 10)

    @node
    def right_again(state: Whole) -> int:
        calls.pass_or_fail("right_again")
        return state.count

    async def double(number: int) -> int:
        return number * 2

    @node(when_failed=ask())
    def fragile(state: Whole) -> Whole:
        calls.pass_or_fail("fragile")
        return state.set(count=state.count + 1)

    @node
    def finish(state: Whole) -> Whole:
        calls.pass_or_fail("finish")
        return state

    @node
    def add(state: Child) -> Child:
        return state.set(number=state.number + 1)

    child = Workflow("child-of-everything", state=Child, start=add, routes={})
    both = branches(
        {"left": left, "right": [right, right_again]}, into="parts", name="both"
    )
    items = parallel(double, over="numbers", into="doubled", name="items")
    each = subworkflows(
        child,
        over="numbers",
        params=lambda number: {"number": number},
        into="children",
        name="each",
    )
    paid = event("payment", Payment, "payment", name="paid")
    review = approval("Paid?", answer=Verdict, into="review", name="review")
    choice = first_of(
        paid, review, sleep(timedelta(days=1)), into="first", name="choice"
    )
    asked = approval("Right?", answer=Verdict, into="verdict", name="asked")
    whole = Workflow(
        NAME,
        state=Whole,
        start=begin,
        routes={
            begin: both,
            both: items,
            items: each,
            each: choice,
            choice: asked,
            asked: fragile,
            fragile: finish,
        },
    )
    undoing = Workflow(
        "undoing",
        state=Whole,
        start=begin,
        routes={begin: book, book: both, both: finish},
    )
    return [whole, undoing, child]


async def finished(run: Run, user: User) -> Run:
    """Respond to everything until a run has ended."""
    while True:
        run = await until(run.pk, lambda one: one.status in ENDED or is_asked(one))
        if run.status in ENDED:
            return run
        await run_in_db(respond, run, user)


def is_asked(run: Run) -> bool:
    return Approval.objects.open().filter(run=run).exists()


def respond(run: Run, user: User) -> None:
    approval = Approval.objects.open().filter(run=run).get()
    responses: dict[str, Any] = {"ask about fragile": {"choice": "retry"}}
    value = responses.get(approval.node_name, {"outcome": "pay"})
    system.respond(run.pk, value, by=user, comment="go")


async def launched(user: User) -> Run:
    run = await run_in_db(lambda: system.execute(NAME))
    return await finished(run, user)


async def resumed(run: Run, user: User) -> Run:
    await run_in_db(lambda: system.resume(run.pk, by=None))
    return await finished(run, user)


async def forked(run: Run, request: ForkRequest, user: User) -> Run:
    fork = await run_in_db(
        lambda: system.fork(run.pk, request, by=user, reason=f"from {request.step}")
    )
    return await finished(fork, user)


def shared_rows(run: Run, until_step: int) -> list[Any]:
    rows = Stage.objects.filter(run=run, kind=StageKind.NODE)
    found = rows.filter(sequence__lte=until_step, status=StageStatus.COMPLETED)
    return [*found.order_by("sequence").values_list("sequence", "node_name", "branch")]


async def check_shared(fork: Run, origin: Run, kept: int) -> None:
    """Compare rows and states of the shared steps."""
    ours = await run_in_db(shared_rows, fork, kept)
    assert ours == await run_in_db(shared_rows, origin, kept), kept
    for step in range(kept + 1):
        assert await state_of(fork, step) == await state_of(origin, step), step


def check_pages(page: Client, run: Run, moments: Iterable[int]) -> str:
    """Request the page of a run at these moments; return the newest."""
    for at in moments:
        response = page.get(f"/runs/{run.pk}/?at={at}")
        assert response.status_code == 200, at
    return str(page.get(f"/runs/{run.pk}/").content.decode())


async def twice_resumed(calls: Calls, user: User) -> Run:
    """Return a completed run that failed in a branch and at its end, and was asked about."""
    calls.failing = {"right_again", "fragile", "finish"}
    run = await launched(user)
    assert (run.status, run.error_node) == ("failed", "both")
    run = await resumed(run, user)
    assert (run.status, run.error_node) == ("failed", "finish")
    run = await resumed(run, user)
    assert run.status == "completed", run.error_message
    return run


async def test_a_fork_of_a_fork_of_a_resumed_run_has_its_history(
    calls: Calls, admin: User, sign_in: SignIn
) -> None:
    async with working():
        run = await twice_resumed(calls, admin)
        names = {name: step for step, name, _ in await run_in_db(shared_rows, run, 99)}
        fork = await forked(run, ForkRequest(names["asked"]), admin)
        assert fork.status == "completed", fork.error_message
        await check_shared(fork, run, names["asked"] - 1)
        request = ForkRequest(
            names["asked"], ForkKind.RESPONSE, response={"outcome": "reject"}
        )
        second = await forked(fork, request, admin)
        assert second.result is not None
        assert second.result["verdict"] == {"outcome": "reject"}
        await check_shared(second, run, names["asked"] - 1)
    assert await findings() == []
    page = await run_in_db(sign_in, admin)
    shown = await run_in_db(check_pages, page, second, [4])
    assert "Lineage" in shown
    assert f"/runs/{run.pk}/" in shown
    assert f"/runs/{fork.pk}/" in shown


@pytest.mark.slow
async def test_a_run_is_forked_from_each_of_its_steps_and_so_is_each_fork(
    calls: Calls, admin: User, sign_in: SignIn
) -> None:
    page = await run_in_db(sign_in, admin)
    async with working():
        run = await twice_resumed(calls, admin)
        steps = [step for step, _, _ in await run_in_db(shared_rows, run, 99)]
        for step in steps:
            calls.failing = {"fragile"}
            fork = await forked(run, ForkRequest(step), admin)
            assert fork.status == "completed", (step, fork.error_message)
            row = await run_in_db(Fork.objects.get, run=fork.pk)
            await check_shared(fork, run, row.kept)
            second = await forked(fork, ForkRequest(fork.sequence), admin)
            assert second.status == "completed", (step, second.error_message)
            await check_shared(second, fork, fork.sequence - 1)
            await run_in_db(check_pages, page, second, range(second.sequence + 1))
    assert await findings() == []


async def test_a_run_whose_steps_were_undone_is_forked_from_before_them(
    calls: Calls, admin: User
) -> None:
    async with working():
        calls.failing = {"finish"}
        run = await run_in_db(lambda: system.execute("undoing"))
        run = await finished(run, admin)
        assert (run.status, calls.undone) == ("failed", ["unbook"])
        with pytest.raises(Exception, match="were undone"):
            await forked(run, ForkRequest(3), admin)
        calls.failing = {"finish"}
        fork = await forked(run, ForkRequest(2), admin)
        assert (fork.status, calls.undone) == ("failed", ["unbook", "unbook"])
        await check_shared(fork, run, 1)
        second = await forked(fork, ForkRequest(2), admin)
        assert second.status == "completed", second.error_message
        await check_shared(second, run, 1)
    assert await findings() == []
