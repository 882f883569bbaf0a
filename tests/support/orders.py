"""A workflow with items, a child run and an approval, whose runs are forked in tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from tests.support.workers import ended, until
from workflows.audit.verifier import Checker
from workflows.engine import (
    State,
    Workflow,
    approval,
    node,
    otherwise,
    parallel,
    predicate,
    subworkflow,
    when,
)
from workflows.execution import checkpoints
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Run,
    Stage,
)
from workflows.services.fork_plans import ForkRequest
from workflows.system import System


class Start(BaseModel):
    """Params of all runs here."""

    amount: int = 5
    limit: int = 10


class Verdict(BaseModel):
    """Response of the approval."""

    outcome: Literal["pay", "reject"]


class Order(State):
    """State of all runs here."""

    params: Start = Start()
    total: int = 0
    parts: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    verdict: Verdict | None = None
    audit: dict[str, Any] | None = None
    end: str = ""


class Calls:
    """How often each node ran, and whether one is to fail."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.failing = ""

    def note(self, name: str) -> None:
        self.made.append(name)
        if self.failing == name:
            raise RuntimeError(f"{name} is out of order")


def ordering(calls: Calls) -> list[Workflow[Any]]:
    """Return a workflow with items, a child run, an approval and a branch, and its child."""

    @node
    async def add(state: Order) -> Order:
        calls.note("add")
        return state.set(total=state.params.amount, parts=(1, 2, 3))

    async def double(part: int) -> int:
        return part * 2

    @predicate("total {s.total}, limit {s.params.limit}")
    def is_small(state: Order) -> bool:
        return state.total < state.params.limit

    @predicate("{s.verdict.outcome}")
    def is_accepted(state: Order) -> bool:
        return state.verdict is not None and state.verdict.outcome == "pay"

    @node
    async def pay(state: Order) -> Order:
        calls.note("pay")
        return state.set(end="paid")

    @node
    async def reject(state: Order) -> Order:
        calls.note("reject")
        return state.set(end="rejected")

    @node
    async def check(state: Order) -> Order:
        return state.set(total=state.total + 1)

    checking = Workflow("checking", state=Order, params=Start, start=check, routes={})
    doubling = parallel(double, over="parts", into="doubled", name="doubling")
    auditing = subworkflow(checking, lambda s: s.params, into="audit", name="auditing")
    ask = approval(
        "Pay?", answer=Verdict, into="verdict", within=timedelta(days=1), name="ask"
    )
    order = Workflow(
        "order",
        state=Order,
        start=add,
        routes={
            add: doubling,
            doubling: auditing,
            auditing: [when(is_small, pay), otherwise(ask)],
            ask: [when(is_accepted, pay), otherwise(reject)],
        },
    )
    return [order, checking]


async def launched(system: System, **params: Any) -> Run:
    """Return a run of an order that has ended."""
    run = await run_in_db(lambda: system.execute("order", params))
    return await ended(run.pk)


async def forked(system: System, run: Run, step: int, **options: Any) -> Run:
    """Return a fork that has ended."""
    names = {"state", "params", "edge", "response", "kind"}
    changes = {name: options.pop(name) for name in names & options.keys()}
    options = {"by": None, **options}
    request = ForkRequest(step, **changes)
    fork = await run_in_db(lambda: system.fork(run.pk, request, **options))
    return await ended(fork.pk)


async def asks(run: Run) -> Run:
    """Return the run when it waits for its approval."""
    return await until(run.pk, lambda found: found.waiting_node == "ask")


async def rows(query: Any) -> list[Any]:
    return await run_in_db(lambda: list(query))


async def stages_of(run: Run) -> list[tuple[int, int, str, str]]:
    found = Stage.objects.filter(run=run).order_by("attempt", "sequence")
    return await rows(found.values_list("attempt", "sequence", "node_name", "status"))


async def findings() -> list[str]:
    return await run_in_db(lambda: [str(one) for one in Checker().everything()])


async def state_of(run: Run, at: int) -> dict[str, Any]:
    found = await run_in_db(checkpoints.rebuild, run.pk, at)
    assert found is not None
    return dict(found.data)
