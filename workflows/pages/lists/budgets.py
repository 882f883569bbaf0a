"""Rows of the budgets page: each budget with its use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import F, Sum
from django.urls import reverse
from django.utils import timezone

from workflows.access import permissions
from workflows.agents import budgets
from workflows.agents.budgets import BudgetUsage
from workflows.models import (
    ENDED,
    PERSONAL,
    Agent,
    AgentCall,
    Budget,
    Price,
    Run,
    Scope,
)
from workflows.pages.catalog import title_of
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.models import QuerySet

MAX_LISTED = 3  # workflows or runs of one budget, those that use most


@dataclass(frozen=True, slots=True)
class Use:
    """The use of a budget by a run, a workflow or all together."""

    name: str  # of the workflow or run; "" for everything the budget counts
    address: str
    standing: BudgetUsage


@dataclass(frozen=True, slots=True)
class Entry:
    """A budget with its use."""

    budget: Budget
    uses: Sequence[Use]

    @property
    def counts(self) -> str:
        """Return the scope for display."""
        name, person = self.budget.workflow_name, self.budget.person
        of = f" of {title_of(name)}" if name else ""
        who = f"runs{of} launched by {person}" if person else f"per person{of}"
        zone = timezone.get_default_timezone_name()
        return {
            Scope.RUN: f"per run{of}",
            Scope.WORKFLOW: f"all runs{of}" if name else "all runs per workflow",
            Scope.DAY: f"all runs{of} per day ({zone})",
            Scope.PERSON: f"{who} per month ({zone})",
            Scope.PERSON_DAY: f"{who} per day ({zone})",
        }[Scope(self.budget.scope)]


def entries_for(person: User) -> list[Entry]:
    """Return the budgets whose workflow a user may see, with their use."""
    visible = permissions.permissions_for(person).view
    return [
        Entry(budget, list(_uses(budget, person)))
        for budget in Budget.objects.all()
        if not budget.workflow_name or budget.workflow_name in visible
    ]


def _uses(budget: Budget, person: User) -> Iterator[Use]:
    calls = AgentCall.objects.order_by()
    if budget.workflow_name:
        calls = calls.filter(workflow_name=budget.workflow_name)
    if budget.scope in PERSONAL:
        yield from _of_persons(budget, calls, person)
    elif budget.scope == Scope.RUN:
        yield from _of_runs(budget, permissions.visible(person, calls), person)
    elif budget.scope == Scope.WORKFLOW and not budget.workflow_name:
        yield from _of_workflows(budget, permissions.visible(person, calls))
    elif budget.workflow_name or permissions.permissions_for(person).view.are_all:
        whole = Run(workflow_name=budget.workflow_name)
        yield Use("", "", budgets.usage_of_budget(budget, whole))


def _of_runs(budget: Budget, calls: QuerySet[AgentCall], person: User) -> Iterator[Use]:
    """Yield the active runs that use most."""
    live = calls.exclude(run__status__in=ENDED).filter(run__isnull=False)
    keys = [key for key, _ in _largest(live, "run")]
    runs = visible_runs(person).only("workflow_name").in_bulk(keys)
    for run in (runs[key] for key in keys if key in runs):
        standing = budgets.usage_of_budget(budget, run)
        name = f"{title_of(run.workflow_name)} {run.short_id}"
        yield Use(name, reverse("run", args=[run.pk]), standing)


def _of_persons(
    budget: Budget, calls: QuerySet[AgentCall], person: User
) -> Iterator[Use]:
    """Yield the persons who use most; other people than agent managers see themselves."""
    since = budgets.start_of_period(budget)
    seen = calls.filter(person__isnull=False, created_at__gte=since)
    if not permissions.can_manage_agents(person):
        seen = seen.filter(person=person.pk)
    if budget.person_id is not None:
        seen = seen.filter(person=budget.person_id)
    keys = [key for key, _ in _largest(seen, "person")]
    names = User.objects.in_bulk(keys)
    for key in keys:
        run = Run(workflow_name=budget.workflow_name, launched_by_id=key)
        standing = budgets.usage_of_budget(budget, run)
        name = names[key].get_username()
        address = f"{reverse('usage')}?{urlencode({'who': name, 'by': 'workflow'})}"
        yield Use(name, address, standing)


def _of_workflows(budget: Budget, calls: QuerySet[AgentCall]) -> Iterator[Use]:
    for name, _ in _largest(calls.exclude(workflow_name=""), "workflow_name"):
        standing = budgets.usage_of_budget(budget, Run(workflow_name=name))
        yield Use(title_of(name), reverse("workflow", args=[name]), standing)


def _largest(calls: QuerySet[AgentCall], by: str) -> Sequence[tuple[Any, int]]:
    sums = calls.values_list(by).annotate(used=Sum(F("tokens_in") + F("tokens_out")))
    return list(sums.order_by("-used")[:MAX_LISTED])


def models_without_price() -> list[str]:
    """Return the models of agents that have no price, so that cost budgets miss them."""
    priced = Price.objects.values("model")
    agents = Agent.objects.exclude(model__in=priced).order_by("model")
    return list(agents.values_list("model", flat=True).distinct())
