"""A person decides about a failed step of a stored run: rows, history, recovery."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from tests.support.lost_workers import Commits
from tests.support.orders import findings
from tests.support.workers import ended, reaches, until, working
from workflows.engine import (
    State,
    Workflow,
    ask,
    node,
    otherwise,
    predicate,
    subworkflow,
    when,
)
from workflows.errors import AlreadyAnswered, InvalidParams
from workflows.execution import checkpoints, queue
from workflows.infra import clock
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalKind,
    ApprovalStatus,
    Attempt,
    Decision,
    ForkKind,
    Outcome,
    Run,
    Stage,
)
from workflows.registry import Registry
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")

QUESTION = "ask about pay"


class Transfer(State):
    iban: str = "wrong"
    amount: int = 5
    receipt: str = ""


paid: list[str] = []
undone: list[str] = []


@node
def release(state: Transfer) -> Transfer:
    undone.append("release")
    return state


@node(undo=release)
def reserve(state: Transfer) -> Transfer:
    return state


@node(when_failed=ask(within=timedelta(days=1)))
def pay(state: Transfer) -> Transfer:
    if state.iban == "wrong":
        raise LookupError("no such account")
    paid.append(state.iban)
    return state.set(receipt=f"paid to {state.iban}")


@predicate("{s.amount}")
def is_large(state: Transfer) -> bool:
    return state.amount > 10


@node
def archive(state: Transfer) -> Transfer:
    return state


@node
def review(state: Transfer) -> Transfer:
    return state


transfer = Workflow(
    "transfer",
    state=Transfer,
    start=reserve,
    routes={reserve: pay, pay: [when(is_large, review), otherwise(archive)]},
)
paying = subworkflow(transfer, {}, into="receipt", name="paying")
EDITED = {"choice": "retry", "changes": {"iban": "DE02"}}


@pytest.fixture
def registry() -> Registry:
    found = Registry()
    found.register(transfer)
    return found


@pytest.fixture
def system(registry: Registry, transactional_db: None) -> System:
    paid.clear()
    undone.clear()
    return System(registry)


async def asked(system: System, name: str = "transfer") -> Run:
    run = await run_in_db(lambda: system.execute(name))
    return await reaches(run.pk, "waiting")


async def respond(
    system: System, run: Run, user: User, value: dict[str, Any], why: str = "because"
) -> None:
    await run_in_db(lambda: system.respond(run.pk, value, by=user, comment=why))


def stages_of(run_id: UUID) -> list[tuple[int, str, str]]:
    found = Stage.objects.filter(run=run_id).order_by("attempt", "sequence", "pk")
    return [*found.values_list("sequence", "node_name", "status")]


def taken(run_id: UUID) -> list[Decision]:
    found = Decision.objects.filter(run=run_id, taken=True)
    return [*found.select_related("decided_by").order_by("sequence", "attempt")]


async def test_a_failed_step_is_asked_about_edited_and_tried_again(
    system: System, registry: Registry, admin: User
) -> None:
    async with working(registry):
        run = await asked(system)
        assert (run.sequence, run.waiting_node) == (2, QUESTION)
        approval = await run_in_db(Approval.objects.get)
        assert (approval.kind, approval.status) == (
            ApprovalKind.FAILURE,
            ApprovalStatus.OPEN,
        )
        assert approval.evidence["failure"]["message"] == "no such account"
        assert approval.expires_at is not None
        await respond(system, run, admin, EDITED, "a digit was missing")
        run = await ended(run.pk)
    assert (run.status, run.result and run.result["receipt"]) == (
        "completed",
        "paid to DE02",
    )
    assert await run_in_db(stages_of, run.pk) == [
        (1, "reserve", "completed"),
        (2, "pay", "failed"),
        (3, QUESTION, "completed"),
        (4, "pay", "completed"),
        (5, "archive", "completed"),
    ]
    decisions = await run_in_db(taken, run.pk)
    assert [one.to_node for one in decisions] == ["pay", QUESTION, "pay", "archive"]
    chosen = decisions[2]
    assert (chosen.decided_by, chosen.comment) == (admin, "a digit was missing")
    assert (chosen.predicate_name, chosen.reason) == ("retry", "retry was chosen")
    states = [await run_in_db(checkpoints.rebuild, run.pk, at) for at in range(2, 6)]
    assert [one and one.data["iban"] for one in states] == ["wrong", *["DE02"] * 3]
    assert [one and bool(one.failure) for one in states] == [True, True, False, False]
    assert await findings() == []


async def test_each_choice_continues_its_own_way(
    system: System, registry: Registry, admin: User
) -> None:
    choices: list[tuple[dict[str, Any], str, str]] = [
        ({"choice": "skip", "changes": {"receipt": "cash"}}, "archive", "cash"),
        ({"choice": "skip", "changes": {"amount": 11}}, "review", ""),
        ({"choice": "route", "route": "review"}, "review", ""),
    ]
    async with working(registry):
        for value, last, receipt in choices:
            run = await asked(system)
            await respond(system, run, admin, value)
            run = await ended(run.pk)
            assert (run.status, run.result and run.result["receipt"]) == (
                "completed",
                receipt,
            )
            assert (await run_in_db(stages_of, run.pk))[-1][1] == last
    assert paid == undone == []
    assert await findings() == []


async def test_giving_up_undoes_the_steps_and_fails_at_the_failed_step(
    system: System, registry: Registry, admin: User
) -> None:
    async with working(registry):
        run = await asked(system)
        assert undone == []
        await respond(system, run, admin, {"choice": "give_up"}, "no money")
        run = await ended(run.pk)
    assert (run.status, run.error_node, undone) == ("failed", "pay", ["release"])
    assert f"({admin.get_username()} gave up: no money)" in run.error_message
    assert (3, QUESTION, "failed") in await run_in_db(stages_of, run.pk)
    assert await findings() == []


async def test_an_expired_question_fails_the_run_and_is_asked_again_by_a_resume(
    system: System, registry: Registry, admin: User
) -> None:
    asking = Workflow("asking", state=Transfer, start=pay, routes={})
    registry.register(asking)
    past = await run_in_db(clock.now) - timedelta(seconds=1)
    async with working(registry):
        run = await asked(system, "asking")
        await run_in_db(Approval.objects.update, expires_at=past)
        await run_in_db(Run.objects.update, wake_at=past)
        await run_in_db(queue.sweep)
        run = await ended(run.pk)
        assert (run.status, run.error_node) == ("failed", "pay")
        assert "no one responded in time" in run.error_message
        await run_in_db(lambda: system.resume(run.pk, by=None))
        run = await reaches(run.pk, "waiting")
        await respond(system, run, admin, EDITED)
        run = await ended(run.pk)
    assert (run.status, paid) == ("completed", ["DE02"])
    assert await findings() == []


async def test_the_deadline_of_the_run_ends_a_question(
    system: System, registry: Registry
) -> None:
    past = await run_in_db(clock.now) - timedelta(seconds=1)
    async with working(registry):
        run = await asked(system)
        await run_in_db(Run.objects.update, deadline_at=past, wake_at=past)
        await run_in_db(queue.sweep)
        run = await ended(run.pk)
    assert (run.status, run.error_code, undone) == ("failed", "deadline", ["release"])
    closed = await run_in_db(Approval.objects.get)
    assert closed.status == ApprovalStatus.WITHDRAWN
    assert await findings() == []


async def test_a_response_is_checked_before_anything_is_queued(
    system: System, registry: Registry, admin: User
) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"choice": "dance"}, "choice"),
        ({"choice": "route", "route": "moon"}, "route"),
        ({"choice": "retry", "changes": {"amount": "many"}}, "changes"),
        ({"choice": "retry", "changes": {"unknown": 1}}, "changes"),
        ({"choice": "retry", "removed": ["amount"], "moon": 1}, "moon"),
    ]
    async with working(registry):
        run = await asked(system)
        for value, field in wrong:
            with pytest.raises(InvalidParams) as refused:
                await respond(system, run, admin, value)
            assert [*refused.value.errors] == [field], value
        await respond(system, run, admin, {"choice": "skip"})
        with pytest.raises(AlreadyAnswered):
            await respond(system, run, admin, {"choice": "skip"})
        await ended(run.pk)


async def test_a_cancelled_question_is_withdrawn_and_asked_again_after_a_resume(
    system: System, registry: Registry, admin: User
) -> None:
    registry.register(Workflow("asking", state=Transfer, start=pay, routes={}))
    async with working(registry):
        run = await asked(system, "asking")
        await run_in_db(lambda: system.cancel(run.pk, by=None))
        await ended(run.pk)
        closed = await run_in_db(Approval.objects.get)
        assert closed.status == ApprovalStatus.WITHDRAWN
        await run_in_db(lambda: system.resume(run.pk, by=None))
        await reaches(run.pk, "waiting")
        await respond(system, run, admin, {"choice": "skip"})
        assert (await ended(run.pk)).status == "completed"
    assert await findings() == []


async def test_a_parent_waits_while_its_child_is_asked_about_and_is_asked_itself(
    system: System, registry: Registry, admin: User
) -> None:
    parent = Workflow(
        "parent",
        state=State,
        start=paying,
        routes={},
        when_failed=ask(),
    )
    registry.register(parent)
    async with working(registry):
        run = await run_in_db(lambda: system.execute("parent"))
        child = await reaches_child(run)
        await respond(system, child, admin, {"choice": "give_up"})
        run = await reaches_approval(run)
        await respond(system, run, admin, {"choice": "retry"})
        other = await reaches_child(run)
        assert other.pk != child.pk
        await respond(system, other, admin, EDITED)
        run = await ended(run.pk)
    assert run.status == "completed", run.error_message
    assert await findings() == []


async def reaches_child(run: Run) -> Run:
    """Return the child run of a run that waits for a person."""

    def waits(_run: Run) -> bool:
        return Approval.objects.open().filter(run__parent=run.pk).exists()

    await until(run.pk, waits)
    return await run_in_db(
        lambda: Run.objects.get(parent=run.pk, approvals__status=ApprovalStatus.OPEN)
    )


async def reaches_approval(run: Run) -> Run:
    return await until(run.pk, lambda found: found.waiting_for == "approval")


async def test_another_response_is_given_in_a_fork(
    system: System, registry: Registry, admin: User
) -> None:
    async with working(registry):
        run = await asked(system)
        await respond(system, run, admin, {"choice": "skip"})
        run = await ended(run.pk)
        request = ForkRequest(3, ForkKind.RESPONSE, response=EDITED)
        fork = await run_in_db(
            lambda: system.fork(run.pk, request, by=admin, reason="found it")
        )
        fork = await ended(fork.pk)
        again = await run_in_db(lambda: system.fork(run.pk, ForkRequest(3), by=None))
        await reaches(again.pk, "waiting")
        edge = ForkRequest(2, ForkKind.OVERRIDE, edge=0)
        with pytest.raises(Exception, match="has no edge 0"):
            await run_in_db(lambda: system.fork(run.pk, edge, by=None))
    assert (fork.status, paid) == ("completed", ["DE02"])
    copied = await run_in_db(lambda: Approval.objects.get(run=fork.pk))
    assert (copied.kind, copied.response["choice"]) == (ApprovalKind.FAILURE, "retry")
    assert await findings() == []


async def test_a_run_whose_worker_is_killed_after_any_commit_ends_the_same(
    system: System, registry: Registry, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = Commits(monkeypatch)
    times_lost = 0
    async with working(registry):
        for number in itertools.count():
            commits.lost_after = number
            run = await asked(system)
            await respond(system, run, admin, EDITED)
            run = await ended(run.pk)
            assert (run.status, run.error_message) == ("completed", ""), number
            found = await run_in_db(stages_of, run.pk)
            assert [one for one in found if one[2] != "interrupted"] == [
                (1, "reserve", "completed"),
                (2, "pay", "failed"),
                (3, QUESTION, "completed"),
                (4, "pay", "completed"),
                (5, "archive", "completed"),
            ], number
            lost = Attempt.objects.filter(run=run.pk, outcome=Outcome.LOST)
            times_lost += await run_in_db(lost.count)
            if commits.made[run.pk] < number:
                break
    assert times_lost >= 5, "of the commits after which a worker holds the run"
    assert await findings() == []
