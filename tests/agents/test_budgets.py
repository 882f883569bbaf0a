"""Budgets: a run that has used one up waits for a person, and continues with more."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from tests.support.agent_rows import make_agent, make_call
from tests.support.factories import make_run
from tests.support.openai_server import Answer, ModelServer
from tests.support.workers import SharedEvent, ended, reaches, until, working
from workflows.agents import budgets
from workflows.audit.verifier import Checker
from workflows.engine import Node, State, Workflow, branches, node, parallel
from workflows.errors import AlreadyAnswered, InvalidParams, NotAllowed
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AgentCall,
    Approval,
    AuditEvent,
    Budget,
    BudgetRaise,
    Decision,
    Price,
    Run,
    Scope,
    Status,
)
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.system import System, system

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sealed"),
]


SignIn = Callable[[User], Client]
CONTINUE, CANCEL = {"outcome": "continue", "tokens": 100}, {"outcome": "cancel the run"}


class Talk(State):
    words: tuple[str, ...] = ("one", "two", "three", "four")
    answers: tuple[str, ...] = ()
    result: str = ""
    parts: dict[str, str] | None = None


@node
async def talk(state: Talk, runtime: Runtime) -> Talk:
    first = await runtime.agents.chat("writer", "Hello?")
    second = await runtime.agents.chat("writer", "And?")
    return state.set(result=first.text + second.text)


@node
async def gather(state: Talk, runtime: Runtime) -> Talk:
    """Ask in a group, which wraps what its tasks raise."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(runtime.agents.chat("writer", word))
            for word in state.words
        ]
    return state.set(result="".join(task.result().text for task in tasks))


@node
async def answer_one(word: str, runtime: Runtime) -> str:
    return (await runtime.agents.chat("writer", word)).text


@node
def finish(state: Talk) -> Talk:
    return state


spoken = SharedEvent()  # the first branch has used the budget up


@node
async def speak(state: Talk, runtime: Runtime) -> str:
    reply = await runtime.agents.chat("writer", "Hello?")
    spoken.set()
    return reply.text


@node
async def prepare(state: Talk) -> Talk:
    await spoken.wait()
    return state.set(words=("ready",))


@node
async def respond(state: Talk, runtime: Runtime) -> str:
    return (await runtime.agents.chat("writer", state.words[0])).text


both: Node[Talk, Talk] = branches(
    {"first": speak, "second": [prepare, respond]}, into="parts", name="both"
)
answer_all = parallel(answer_one, over="words", into="answers", limit=2)
talking = Workflow("talking", state=Talk, start=talk, routes={talk: finish})
gathering = Workflow("gathering", state=Talk, start=gather, routes={})
answering = Workflow("answering", state=Talk, start=answer_all, routes={})
branching = Workflow("branching", state=Talk, start=both, routes={both: finish})
ours = Registry()
for one in (talking, gathering, answering, branching):
    ours.register(one)
our_system = System(ours)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        make_agent(running)
        Price.objects.create(model="tiny", per_million_in=1_000, per_million_out=2_000)
        yield running


def make_budget(**fields: Any) -> Budget:
    values: dict[str, Any] = {"name": "small", "scope": Scope.RUN, "tokens": 12}
    return Budget.objects.create(**{**values, **fields})


# A run -------------------------------------------------------------------------------


async def test_a_run_that_used_its_budget_up_waits_and_continues_with_more(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget)
    async with working(ours):
        run = await run_in_db(our_system.execute, "talking")
        run = await reaches(run.pk, Status.WAITING)
        assert len(server.requests) == 1  # the second call was not made
        name_or_default = await run_in_db(our_system.find_approval, run.pk)
        assert name_or_default.question == (
            "The budget “small” is used up: 12 of 12 tokens were used in this run."
            " Allow more?"
        )
        await run_in_db(our_system.respond, run.pk, CONTINUE, by=alice, comment="Fine")
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED
    assert len(server.requests) == 3  # the node ran again from its start
    more = await run_in_db(BudgetRaise.objects.get)
    assert (more.run_id, more.tokens, more.by_name) == (run.pk, 100, "alice")
    message = await run_in_db(AuditEvent.objects.get, action="raise budget")
    assert (message.actor_name, message.reason) == (
        "alice",
        "allowed 100 tokens more. Fine",
    )
    # she allowed more tokens; the route of the run was not her decision
    assert not await run_in_db(Decision.objects.filter(decided_by=alice).exists)
    stages = await run_in_db(list, run.stages.values_list("node_name", "status"))
    assert stages == [("talk", "completed"), ("finish", "completed")]


async def test_a_budget_used_up_in_a_branch_pauses_the_run_and_keeps_what_is_finished(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget)
    async with working(ours):
        run = await run_in_db(our_system.execute, "branching")
        run = await reaches(run.pk, Status.WAITING)
        assert len(server.requests) == 1
        assert (run.sequence, run.waiting_node) == (0, "both")
        stages = await run_in_db(
            list, run.stages.order_by("sequence").values_list("node_name", "status")
        )
        assert stages == [
            ("speak", "completed"),
            ("prepare", "completed"),
            ("respond", "cancelled"),
            ("both", "waiting"),
        ]
        await run_in_db(our_system.respond, run.pk, CONTINUE, by=alice, comment="Fine")
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED
    assert len(server.requests) == 2, "the first branch did not ask again"
    assert {*run.result["parts"]} == {"first", "second"}
    completed = await run_in_db(
        list,
        run.stages.filter(status="completed")
        .order_by("sequence")
        .values_list("node_name", flat=True),
    )
    assert completed == ["speak", "prepare", "respond", "both", "finish"]
    assert await run_in_db(lambda: Checker().run(run.pk)) == []


async def test_too_little_is_refused_and_a_budget_can_be_reached_again(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget, tokens=1)
    async with working(ours):
        run = await run_in_db(our_system.execute, "talking")
        run = await reaches(run.pk, Status.WAITING)
        with pytest.raises(InvalidParams, match="at least 12 tokens"):
            await run_in_db(
                our_system.respond,
                run.pk,
                {"outcome": "continue", "tokens": 11},
                by=alice,
            )
        enough = {"outcome": "continue", "tokens": 12}
        await run_in_db(our_system.respond, run.pk, enough, by=alice, comment="a test")
        await until(
            run.pk, lambda run: run.status == Status.WAITING and run.attempt == 2
        )
        await run_in_db(
            our_system.respond, run.pk, CONTINUE, by=alice, comment="a test"
        )
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED
    assert await run_in_db(BudgetRaise.objects.count) == 2


async def test_who_does_not_allow_more_stops_the_run(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget)
    async with working(ours):
        run = await run_in_db(our_system.execute, "talking")
        await reaches(run.pk, Status.WAITING)
        await run_in_db(
            our_system.respond, run.pk, CANCEL, by=alice, comment="Too dear"
        )
    run = await run_in_db(our_system.find_run, run.pk)
    assert (run.status, run.cancel_reason) == (Status.CANCELLED, "Too dear")
    assert run.cancel_requested_by_id == alice.pk
    assert not await run_in_db(BudgetRaise.objects.exists)


async def test_a_resumed_run_is_checked_against_the_budget_again(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget)
    async with working(ours):
        run = await run_in_db(our_system.execute, "talking")
        await reaches(run.pk, Status.WAITING)
        await run_in_db(our_system.cancel, run.pk, by=alice, reason="a test")
        await run_in_db(our_system.resume, run.pk, by=alice, reason="a test")
        await reaches(run.pk, Status.WAITING)
        await run_in_db(
            our_system.respond, run.pk, CONTINUE, by=alice, comment="a test"
        )
        assert (await ended(run.pk)).status == Status.COMPLETED


async def test_finished_items_are_preserved_over_the_pause(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget, tokens=24)
    async with working(ours):
        run = await run_in_db(our_system.execute, "answering")
        run = await reaches(run.pk, Status.WAITING)
        made = len(server.requests)
        assert 2 <= made <= 3  # two at once: one may begin before the other is counted
        await run_in_db(
            our_system.respond, run.pk, CONTINUE, by=alice, comment="a test"
        )
        run = await ended(run.pk)
    assert run.result is not None
    assert run.result["answers"] == [
        f"You said: {word}" for word in ("one", "two", "three", "four")
    ]
    assert len(server.requests) == 4


async def test_a_pause_propagates_through_a_task_group(
    server: ModelServer, alice: User
) -> None:
    await run_in_db(make_budget)
    run = await run_in_db(our_system.execute, "gathering")
    await run_in_db(make_call, run)
    async with working(ours):
        await reaches(run.pk, Status.WAITING)
        assert server.requests == []
        await run_in_db(
            our_system.respond, run.pk, CONTINUE, by=alice, comment="a test"
        )
        run = await ended(run.pk)
    assert run.status == Status.COMPLETED


# What counts -------------------------------------------------------------------------


def test_a_budget_of_money_counts_what_has_a_price(db: None) -> None:
    budget = make_budget(tokens=None, cost="0.05")
    run = make_run(workflow_name="talking")
    make_call(run, cost="0.049")
    make_call(run, cost=None)
    assert budgets.reached(run) is None
    make_call(run, cost="0.001")
    pause = budgets.reached(run)
    assert pause is not None
    assert "0.05 of 0.05 USD were used in this run" in pause.question
    assert pause.form == budgets.form_of(budget)


def test_calls_that_are_not_stored_yet_count_and_count_once(db: None) -> None:
    make_budget(tokens=24)
    run = make_run(workflow_name="talking")
    stored = make_call(run)
    unsaved = AgentCall(tokens_in=7, tokens_out=5, latency_ms=1)
    assert budgets.reached(run, [stored]) is None
    assert budgets.reached(run, [stored, unsaved]) is not None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"scope": Scope.RUN}, 1),
        ({"scope": Scope.WORKFLOW}, 3),
        ({"scope": Scope.DAY}, 4),
        ({"scope": Scope.DAY, "workflow_name": "talking"}, 2),
    ],
)
def test_each_scope_counts_its_calls(
    db: None, fields: dict[str, str], expected: int
) -> None:
    yesterday = timezone.now() - dt.timedelta(days=1)
    run, other = (make_run(workflow_name="talking") for _ in range(2))
    make_call(run)
    make_call(other)
    make_call(other, created_at=yesterday)
    make_call(make_run(workflow_name="else"))
    make_call()  # tried out by a person
    standing = budgets.usage_of_budget(make_budget(**fields), run)
    assert standing.used.calls == expected


def test_an_increase_applies_only_to_the_requested_scope(db: None, alice: User) -> None:
    budget = make_budget()
    run, other = (make_run(status=Status.WAITING) for _ in range(2))
    approval = Approval.objects.create(
        run=run, sequence=1, node_name="talk", kind="budget", budget=budget
    )
    budgets.grant_increase(approval, CONTINUE, alice)
    assert budgets.usage_of_budget(budget, run).tokens == 112
    assert budgets.usage_of_budget(budget, other).tokens == 12


def test_budgets_of_other_workflows_and_disabled_ones_do_not_count(
    db: None,
) -> None:
    run = make_run(workflow_name="talking")
    make_call(run)
    make_budget(workflow_name="else")
    make_budget(name="off", is_enabled=False)
    assert budgets.reached(run) is None


def test_a_budget_limits_something() -> None:
    with pytest.raises(ValidationError, match="Limit the tokens"):
        Budget(name="x", scope=Scope.RUN).clean()


# People ------------------------------------------------------------------------------


def waiting(budget: Budget) -> Run:
    """Return a run that waits for more of a budget."""
    run = make_run(status=Status.WAITING, workflow_name="summarize")
    make_call(run)
    pause = budgets.reached(run)
    assert pause is not None
    Approval.objects.create(
        run=run,
        sequence=1,
        node_name="write_summary",
        kind="budget",
        budget=budget,
        question=pause.question,
        form=pause.form,
        groups=list(pause.groups),
    )
    return run


def test_only_its_groups_may_raise_a_budget_and_only_one_of_them(
    alice: User, bob: User
) -> None:
    alice.groups.add(Group.objects.create(name="finance"))
    run = waiting(make_budget(groups=["finance"]))
    with pytest.raises(NotAllowed, match="finance"):
        system.respond(run.pk, CONTINUE, by=bob, comment="a test")
    system.respond(run.pk, CONTINUE, by=alice, comment="a test")
    with pytest.raises(AlreadyAnswered):
        system.respond(run.pk, CONTINUE, by=alice, comment="a test")
    assert BudgetRaise.objects.count() == 1


def test_the_request_for_an_increase_is_answered_on_the_page(
    alice: User, sign_in: SignIn
) -> None:
    run = waiting(make_budget())
    page = sign_in(alice)
    assert "is used up: 12 of 12 tokens" in page.get("/approvals/").content.decode()
    shown = page.get(f"/runs/{run.pk}/").content.decode()
    assert "Additional tokens" in shown
    little = {"response-outcome": "continue", "response-tokens": "0"}
    assert page.post(f"/runs/{run.pk}/respond/", little).status_code == 422
    enough = {
        "response-outcome": "continue",
        "response-tokens": "50",
        "reason": "needed",
    }
    assert page.post(f"/runs/{run.pk}/respond/", enough).status_code == 302
    run.refresh_from_db()
    assert run.status == Status.PENDING
    assert "allowed 50 tokens more" in page.get(f"/runs/{run.pk}/").content.decode()


def test_impossible_responses_are_refused(alice: User) -> None:
    run = waiting(make_budget())
    for wrong in ({}, {"outcome": "perhaps"}, {"outcome": "continue", "tokens": "x"}):
        with pytest.raises(InvalidParams):
            system.respond(run.pk, wrong, by=alice, comment="a test")
    assert not BudgetRaise.objects.exists()


async def test_streamed_text_is_removed_when_the_run_pauses(
    server: ModelServer, alice: User
) -> None:
    server.script(Answer("Good day."))
    await run_in_db(make_budget)
    async with working(ours):
        run = await run_in_db(our_system.execute, "talking")
        run = await reaches(run.pk, Status.WAITING)
    assert not await run_in_db(run.live_texts.exists)
