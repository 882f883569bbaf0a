"""The page of budgets and prices: permissions, forms and consumption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.support.agent_rows import make_call
from tests.support.factories import make_run
from workflows.models import (
    Agent,
    AgentCall,
    AuditEvent,
    Budget,
    BudgetRaise,
    Price,
    Provider,
    Run,
    Scope,
    Status,
)

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
BUDGET = {"name": "each run", "scope": "run", "tokens": "100", "is_enabled": "on"}
PRICE = {"model": "tiny", "per_million_in": "1.5", "per_million_out": "3"}


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    """Return a client of an administrator."""
    return sign_in(admin)


def text_of(page: Client, path: str = "/agents/budgets/") -> str:
    answer = page.get(path)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def make_budget(**fields: Any) -> Budget:
    values: dict[str, Any] = {"name": "small", "scope": Scope.RUN, "tokens": 100}
    return Budget.objects.create(**{**values, **fields})


def make_budget_call(
    run: Run | None = None, tokens: int = 30, **fields: Any
) -> AgentCall:
    return make_call(run, tokens_in=tokens, tokens_out=0, **fields)


# Configuration -----------------------------------------------------------------------


def test_without_budgets_the_page_explains_the_consequence(
    page: Client, alice: User, sign_in: SignIn
) -> None:
    assert "No budgets: usage is unlimited." in text_of(page)
    assert "/agents/budgets/new/" in text_of(page)
    assert "/agents/budgets/new/" not in text_of(sign_in(alice))
    assert 'href="/agents/budgets/"' in text_of(page, "/agents/")


def test_a_budget_is_created_changed_and_deleted_with_its_author(
    page: Client, admin: User
) -> None:
    Group.objects.create(name="records")
    sent = {**BUDGET, "groups": ["records"], "cost": "2.50"}
    page.post("/agents/budgets/new/", sent)
    budget = Budget.objects.get()
    assert (budget.tokens, str(budget.cost)) == (100, "2.5000")
    assert (budget.groups, budget.is_enabled) == (["records"], True)
    path = f"/agents/budgets/{budget.pk}/"
    assert 'value="each run"' in text_of(page, path)
    page.post(path, {**BUDGET, "scope": "day", "tokens": "7"})
    budget.refresh_from_db()
    assert (budget.scope, budget.tokens, budget.cost) == ("day", 7, None)
    page.post(f"{path}delete/")
    assert not Budget.objects.exists()
    events = AuditEvent.objects.order_by("pk")
    assert [(one.actor, one.action) for one in events] == [
        (admin, "save budget"),
        (admin, "save budget"),
        (admin, "delete budget"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected_text"),
    [
        ({"name": ""}, "This field is required"),
        ({"tokens": ""}, "Limit the tokens, the money, or both."),
        ({"tokens": "0"}, "greater than or equal to 1"),
        ({"tokens": "many"}, "Enter a whole number"),
        ({"cost": "-1"}, "greater than or equal to 0"),
        ({"scope": "week"}, "Select a valid choice"),
        ({"workflow_name": "no such"}, "Select a valid choice"),
    ],
)
def test_an_invalid_budget_is_refused_at_its_field(
    page: Client, changes: dict[str, str], expected_text: str
) -> None:
    answer = page.post("/agents/budgets/new/", {**BUDGET, **changes})
    assert answer.status_code == 422
    assert expected_text in answer.content.decode()
    assert not Budget.objects.exists()


def test_a_price_is_stored_and_models_without_one_are_listed(page: Client) -> None:
    provider = Provider.objects.create(name="Local", base_url="http://localhost/v1")
    for model in ("tiny", "large"):
        Agent.objects.create(name=model, model=model, provider=provider)
    assert "/agents/prices/new/?model=large" in text_of(page)
    assert 'value="large"' in text_of(page, "/agents/prices/new/?model=large")
    page.post("/agents/prices/new/", PRICE)
    shown = text_of(page)
    assert "/agents/prices/new/?model=tiny" not in shown
    price = Price.objects.get()
    again = page.post("/agents/prices/new/", PRICE)
    assert "This model already has a price." in again.content.decode()
    page.post(f"/agents/prices/{price.pk}/", {**PRICE, "per_million_in": "2"})
    price.refresh_from_db()
    assert price.per_million_in == 2
    page.post(f"/agents/prices/{price.pk}/delete/")
    assert not Price.objects.exists()


def test_changing_budgets_requires_the_permission_to_change_agents(
    alice: User, sign_in: SignIn
) -> None:
    theirs, budget = sign_in(alice), make_budget()
    price = Price.objects.create(model="tiny", per_million_in=1, per_million_out=1)
    for path in (
        "/agents/budgets/new/",
        f"/agents/budgets/{budget.pk}/",
        f"/agents/budgets/{budget.pk}/delete/",
        "/agents/prices/new/",
        f"/agents/prices/{price.pk}/",
        f"/agents/prices/{price.pk}/delete/",
    ):
        assert theirs.post(path, BUDGET | PRICE).status_code == 403, path
    budget.refresh_from_db()
    assert budget.name == "small"
    assert Price.objects.exists()
    assert f"/agents/budgets/{budget.pk}/" not in text_of(theirs)


# Consumption -------------------------------------------------------------------------


def test_a_budget_of_each_run_shows_active_runs(page: Client) -> None:
    make_budget()
    full, some = make_run(status=Status.WAITING), make_run(status=Status.RUNNING)
    over = make_run(status=Status.COMPLETED)
    for run, tokens in ((full, 100), (some, 30), (over, 500)):
        make_budget_call(run, tokens)
    shown = text_of(page)
    assert "100 of 100 tokens, <b>used up</b>" in shown
    assert "30 of 100 tokens<" in shown
    assert over.short_id not in shown
    assert shown.index(full.short_id) < shown.index(some.short_id)


def test_an_increase_by_a_person_counts(page: Client, alice: User) -> None:
    budget, run = make_budget(), make_run(status=Status.RUNNING)
    make_budget_call(run, 100)
    BudgetRaise.objects.create(
        budget=budget, run=run, tokens=50, day="2026-01-01", by=alice, by_name="alice"
    )
    shown = text_of(page)
    assert "100 of 150 tokens<" in shown
    assert "used up</b>" not in shown
    assert "alice</b> · 50 tokens" in text_of(page, f"/agents/budgets/{budget.pk}/")


def test_budgets_of_workflows_and_days_report_their_totals(
    page: Client,
) -> None:
    make_budget(name="flows", scope=Scope.WORKFLOW, tokens=1_000)
    make_budget(name="today", scope=Scope.DAY, tokens=None, cost=2)
    for name, cost in (("letters", "0.5"), ("bills", "0.25")):
        make_budget_call(make_run(workflow_name=name), 30, cost=cost)
    make_budget_call(None, 40, cost="0.25")  # a trial of an agent
    shown = text_of(page)
    assert shown.count("30 of 1,000 tokens") == 2
    assert "1.00 of 2.00 USD" in shown


def test_usage_is_limited_to_visible_workflows(
    alice: User, sign_in: SignIn, settings: Any
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    make_budget(name="flows", scope=Scope.WORKFLOW)
    make_budget(name="of letters", scope=Scope.DAY, workflow_name="letters")
    make_budget_call(make_run(workflow_name="letters", status=Status.RUNNING))
    shown = text_of(sign_in(alice))
    assert "flows" in shown
    assert "etters" not in shown


def test_the_number_of_queries_does_not_grow_with_the_calls(
    page: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_budget()
    for _ in range(12):
        run = make_run(status=Status.RUNNING)
        for _ in range(3):
            make_budget_call(run)
    with django_assert_max_num_queries(30):
        text_of(page)
