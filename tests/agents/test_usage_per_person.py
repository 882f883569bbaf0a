"""Usage and budgets per person: who pays for a run, what is refused, who sees what."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.support.agent_rows import make_agent, make_call
from tests.support.factories import make_role, make_run, make_user
from tests.support.openai_server import Answer, ModelServer
from tests.support.responses import text_of
from tests.support.workers import ended, reaches, working
from workflows.access import tokens
from workflows.agents import budgets
from workflows.alerts.metrics import measure
from workflows.engine import State, Workflow, node
from workflows.errors import InvalidParams
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AgentCall,
    AlertMetric,
    AlertRule,
    Approval,
    Budget,
    BudgetRaise,
    Run,
    Scope,
    ServiceAccount,
    WorkflowPermission,
)
from workflows.pages.forms.agent_trial import Trial
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.services.usage_reports import UsageFilter, report
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]
NAME = "summarize"  # a workflow that is installed


class Talk(State):
    result: str = ""


@node
async def talk(state: Talk, runtime: Runtime) -> Talk:
    first = await runtime.agents.chat("writer", "Hello?")
    second = await runtime.agents.chat("writer", "And?")
    return state.set(result=first.text + second.text)


registry = Registry()
registry.register(Workflow("talking", state=Talk, start=talk, routes={}))
system = System(registry)


@pytest.fixture
def ada() -> User:
    return make_user("ada")


@pytest.fixture
def boss() -> User:
    return make_user("boss", is_superuser=True)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        make_agent(running)
        yield running


def budget(**fields: Any) -> Budget:
    values = {"name": "small", "scope": Scope.PERSON, "tokens": 12, **fields}
    return Budget.objects.create(**values)


def run_of(person: User, **fields: Any) -> Run:
    return make_run(workflow_name=NAME, launched_by=person, **fields)


def spend(person: User, run: Run | None = None, **fields: Any) -> AgentCall:
    """Return a call of 12 tokens that a person pays for."""
    return make_call(run or run_of(person), person=person, **fields)


# Who pays -------------------------------------------------------------------------------


async def test_calls_count_for_the_launcher_also_when_the_run_is_deleted(
    server: ModelServer, ada: User
) -> None:
    boss = await run_in_db(lambda: make_user("boss", is_superuser=True))
    async with working(registry):
        launched = await run_in_db(lambda: system.execute("talking", by=boss))
        run = await ended(launched.pk)
    await run_in_db(lambda: system.delete_run(run.pk, by=None))
    wanted = UsageFilter(by="person")
    found = await run_in_db(lambda: system.usage_report(wanted))
    assert [(row.key, row.usage.tokens) for row in found.rows] == [("boss", 24)]
    assert ada.pk != boss.pk


async def test_runs_of_a_service_account_count_for_who_created_it(
    server: ModelServer, ada: User
) -> None:
    robot = await run_in_db(lambda: make_user("robot", is_superuser=True))
    await run_in_db(lambda: ServiceAccount.objects.create(user=robot, created_by=ada))
    async with working(registry):
        launched = await run_in_db(lambda: system.execute("talking", by=robot))
        await ended(launched.pk)
    calls = AgentCall.objects.values_list("person__username", flat=True)
    assert await run_in_db(list, calls) == ["ada", "ada"]


async def test_a_run_whose_launcher_was_deleted_records_its_calls(
    server: ModelServer,
) -> None:
    gone = await run_in_db(lambda: make_user("gone", is_superuser=True))
    launched = await run_in_db(lambda: system.execute("talking", by=gone))
    await run_in_db(gone.delete)
    async with working(registry):
        run = await ended(launched.pk)
    assert run.status == "completed"
    assert await run_in_db(AgentCall.objects.filter(person=None).count) == 2


def test_the_migration_attributes_calls_of_existing_runs(ada: User) -> None:
    robot = make_user("robot")
    ServiceAccount.objects.create(user=robot, created_by=ada)
    of_ada, of_robot = make_call(run_of(ada)), make_call(run_of(robot))
    of_system, trial = make_call(make_run()), make_call(person=robot)
    name = "workflows.migrations.0059_spending_by_person"
    import_module(name).set_persons(apps, None)
    found = dict(AgentCall.objects.values_list("pk", "person"))
    assert found == {
        of_ada.pk: ada.pk,
        of_robot.pk: ada.pk,
        of_system.pk: None,
        trial.pk: robot.pk,
    }


def test_the_reversed_migration_disables_budgets_that_the_old_version_lacks() -> None:
    budget()
    name = "workflows.migrations.0059_spending_by_person"
    import_module(name).remove_persons(apps, None)
    left = Budget.objects.get()
    assert (left.scope, left.is_enabled) == (Scope.DAY, False)


# Budgets --------------------------------------------------------------------------------


async def test_a_persons_budget_pauses_the_call_with_a_sentence_that_names_both(
    server: ModelServer, boss: User
) -> None:
    await run_in_db(lambda: budget(name="of ada"))
    server.script(Answer("a"), Answer("b"), Answer("c"))
    async with working(registry):
        launched = await run_in_db(lambda: system.execute("talking", by=boss))
        run = await reaches(launched.pk, "waiting")
        approval = await run_in_db(Approval.objects.get, run=run)
        assert approval.question == (
            "The budget “of ada” is used up: 12 of 12 tokens were used by boss this month."
            " Allow more?"
        )
        more = {"outcome": "continue", "tokens": 100}
        await run_in_db(lambda: system.respond(run.pk, more, by=boss, comment="ok"))
        run = await ended(run.pk)
    assert run.status == "completed"
    raised = await run_in_db(BudgetRaise.objects.get)
    assert (raised.person_id, raised.tokens) == (boss.pk, 100)


def test_a_budget_per_person_counts_each_person_apart(ada: User, boss: User) -> None:
    limit = budget(tokens=24)
    spend(ada)
    spend(ada)
    spend(boss)
    pause = budgets.reached(run_of(ada))
    assert pause is not None
    assert "used by ada this month" in pause.question
    assert budgets.reached(run_of(boss)) is None
    assert budgets.reached(make_run(workflow_name=NAME)) is None
    approval = Approval(budget=limit, run=run_of(ada))
    budgets.grant_increase(approval, {"outcome": "continue", "tokens": 5}, boss)
    assert budgets.usage_of_budget(limit, run_of(ada)).tokens == 29
    assert budgets.usage_of_budget(limit, run_of(boss)).tokens == 24


def test_a_budget_of_one_person_limits_that_person_only(ada: User, boss: User) -> None:
    budget(person=ada)
    spend(ada)
    spend(boss)
    assert budgets.reached(run_of(ada)) is not None
    assert budgets.reached(run_of(boss)) is None
    with pytest.raises(ValidationError, match="Only a budget per person"):
        Budget(name="x", scope=Scope.RUN, tokens=1, person=ada).clean()


@pytest.mark.parametrize(("scope", "age"), [(Scope.PERSON, 40), (Scope.PERSON_DAY, 2)])
def test_earlier_periods_do_not_count(ada: User, scope: str, age: int) -> None:
    budget(scope=scope)
    spend(ada, created_at=timezone.now() - dt.timedelta(days=age))
    assert budgets.reached(run_of(ada)) is None
    spend(ada)
    assert budgets.reached(run_of(ada)) is not None


def test_unsaved_calls_of_the_run_count(ada: User) -> None:
    budget(tokens=24)
    run = run_of(ada)
    stored = spend(ada, run)
    unsaved = AgentCall(run=run, tokens_in=12, latency_ms=1, person=ada)
    assert budgets.reached(run, [stored]) is None
    assert budgets.reached(run, [stored, unsaved]) is not None


async def test_a_trial_of_an_agent_is_refused_when_the_budget_is_used_up(
    server: ModelServer, ada: User
) -> None:
    await run_in_db(lambda: budget(person=ada))
    await run_in_db(spend, ada)
    trial = Trial("writer", "Hi?", ada.pk)
    await trial.finish()
    assert trial.error == (
        "The budget “small” is used up: 12 of 12 tokens were used by ada this month."
    )
    assert server.requests == []


def test_no_budget_per_person_costs_no_query(
    ada: User, django_assert_num_queries: Any
) -> None:
    run = run_of(ada)
    with django_assert_num_queries(1):
        assert budgets.reached(run) is None


def test_an_alert_measures_the_person_with_the_highest_cost(
    ada: User, boss: User
) -> None:
    for person, cost in ((ada, 2), (ada, 3), (boss, 4)):
        spend(person, cost=Decimal(cost))
    rule = AlertRule(workflow_name=NAME, metric=AlertMetric.PERSON_COST)
    measured = measure(rule, timezone.now() + dt.timedelta(seconds=1))
    assert (measured.value, measured.count) == (5.0, 2)


# Reports --------------------------------------------------------------------------------


def test_usage_is_grouped_and_filtered(ada: User, boss: User) -> None:
    first = run_of(ada, profile_name="fast")
    spend(ada, first, cost=Decimal("0.5"))
    spend(boss, cost=Decimal(1))
    old = timezone.now() - dt.timedelta(days=90)
    spend(boss, created_at=old)

    def keys(**given: Any) -> dict[str, int]:
        found = report(UsageFilter(**given), by=boss)
        return {row.key: row.usage.calls for row in found.rows}

    assert keys() == {"boss": 2, "ada": 1}
    assert list(keys()) == ["boss", "ada"]
    assert keys(by="workflow") == {NAME: 3}
    assert keys(by="profile") == {"fast": 1, "": 2}
    assert keys(by="agent", person="ada") == {"writer": 1}
    assert len(keys(by="day")) == 2
    assert keys(since=timezone.now() - dt.timedelta(days=30)) == {"boss": 1, "ada": 1}
    assert keys(profile="fast") == {"ada": 1}
    with pytest.raises(InvalidParams):
        report(UsageFilter(by="colour"), by=boss)


def test_people_see_their_own_usage_of_workflows_they_may_see(
    ada: User, boss: User
) -> None:
    spend(ada)
    spend(boss)
    assert [row.key for row in report(UsageFilter(), by=ada).rows] == ["ada"]
    hidden = Group.objects.create(name="some")
    WorkflowPermission.objects.create(workflow_name=NAME, group=hidden)
    assert report(UsageFilter(), by=User.objects.get(pk=ada.pk)).rows == []
    assert len(report(UsageFilter(), by=boss).rows) == 2


def test_page_api_export_and_command_show_the_same_usage(
    ada: User, boss: User, sign_in: SignIn
) -> None:
    spend(ada, cost=Decimal("0.25"))
    page = text_of(sign_in(boss).get("/agents/usage/?by=workflow&who=ada&when=7d"))
    assert NAME in page
    assert "by=workflow&amp;who=ada&amp;when=7d" in page
    file = text_of(sign_in(boss).get("/agents/usage.csv?by=person"))
    rows = list(csv.DictReader(io.StringIO(file.removeprefix("\ufeff"))))
    assert [(row["person"], row["calls"], row["tokens_in"]) for row in rows] == [
        ("ada", "1", "7")
    ]
    _, secret = tokens.create(boss, "t", by=boss, scopes=["admin"])
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    found = client.get("/api/v1/usage").json()
    assert [(one["key"], one["calls"]) for one in found["groups"]] == [("ada", 1)]
    assert found["total"]["tokens_in"] == 7
    export = text_of(client.get("/api/v1/exports/usage?format=csv&by=agent"))
    assert "writer" in export
    assert client.get("/api/v1/usage?by=colour").status_code == 422
    out = io.StringIO()
    call_command("usage", "--by", "workflow", stdout=out)
    assert out.getvalue().startswith("workflow,calls,tokens_in")
    assert f"\n{NAME},1,7,5,0.25" in out.getvalue().replace("\r", "")


def test_the_budgets_page_shows_persons_and_the_form_takes_a_name(
    ada: User, boss: User, sign_in: SignIn
) -> None:
    budget(name="each", tokens=100)
    spend(ada)
    text = text_of(sign_in(boss).get("/agents/budgets/"))
    assert "12 of 100 tokens" in text
    assert ">ada</a>" in text
    values = {"name": "ada", "scope": "person", "tokens": "5", "is_enabled": "on"}
    wrong = sign_in(boss).post("/agents/budgets/new/", {**values, "person": "nobody"})
    assert "There is no active user with this name." in text_of(wrong)
    sign_in(boss).post("/agents/budgets/new/", {**values, "person": "ada"})
    made = Budget.objects.get(name="ada")
    assert made.person == ada
    assert 'value="ada"' in text_of(sign_in(boss).get(f"/agents/budgets/{made.pk}/"))
    other = make_user("other")
    other.groups.add(make_role("Viewer"))
    assert ">ada</a>" not in text_of(sign_in(other).get("/agents/budgets/"))


def test_the_budget_of_a_person_is_found_by_an_index(ada: User) -> None:
    rows = AgentCall.objects.filter(person=ada, created_at__gte=timezone.now())
    names = connection.introspection.get_constraints(
        connection.cursor(),
        AgentCall._meta.db_table,  # noqa: SLF001 - Django's documented model API
    )
    assert names["call_by_person"]["columns"] == ["person_id", "created_at"]
    assert not rows.exists()
