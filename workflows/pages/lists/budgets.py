"""Budgets and prices as their page shows them: how much of each is used up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import F, Sum
from django.urls import reverse
from django.utils import timezone

from workflows.access import permissions
from workflows.agents import budgets
from workflows.agents.budgets import Standing
from workflows.models import ENDED, Agent, AgentCall, Budget, Price, Run, Scope
from workflows.pages.catalog import title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

MAX_LISTED = 3  # workflows or runs of one budget, those that took most


@dataclass(frozen=True, slots=True)
class Use:
    """How far a budget is used up by what it counts together."""

    name: str  # of the workflow or run; "" where it is all that the budget counts
    address: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Entry:
    """A budget, and how far it is used up."""

    budget: Budget
    uses: Sequence[Use]

    @property
    def counts(self) -> str:
        """Return what is counted together, in words."""
        named = self.budget.workflow_name
        of = f" of {title_of(named)}" if named else ""
        return {
            Scope.RUN: f"each run{of}",
            Scope.WORKFLOW: f"all runs{of}" if named else "all runs of each workflow",
            Scope.DAY: f"all runs{of} of a day in {timezone.get_default_timezone_name()}",
        }[Scope(self.budget.scope)]


def entries_for(person: User) -> list[Entry]:
    """Return the budgets of what a person may see, and how far they are used up."""
    seen = permissions.permissions_for(person).see
    return [
        Entry(one, list(_uses(one, person)))
        for one in Budget.objects.all()
        if not one.workflow_name or one.workflow_name in seen
    ]


def _uses(budget: Budget, person: User) -> Iterator[Use]:
    calls = AgentCall.objects.order_by()
    if budget.workflow_name:
        calls = calls.filter(workflow_name=budget.workflow_name)
    if budget.scope == Scope.RUN:
        yield from _of_runs(budget, permissions.visible(person, calls))
    elif budget.scope == Scope.WORKFLOW and not budget.workflow_name:
        yield from _of_workflows(budget, permissions.visible(person, calls))
    elif budget.workflow_name or permissions.permissions_for(person).see.are_all:
        whole = Run(workflow_name=budget.workflow_name)
        yield Use("", "", budgets.standing_of(budget, whole))


def _of_runs(budget: Budget, calls: QuerySet[AgentCall]) -> Iterator[Use]:
    """Yield the runs under way that took most."""
    live = calls.exclude(run__status__in=ENDED).filter(run__isnull=False)
    for key, _ in _most(live, "run"):
        run = Run.objects.only("workflow_name").get(pk=key)
        standing = budgets.standing_of(budget, run)
        name = f"{title_of(run.workflow_name)} {run.short_id}"
        yield Use(name, reverse("run", args=[run.pk]), standing)


def _of_workflows(budget: Budget, calls: QuerySet[AgentCall]) -> Iterator[Use]:
    for name, _ in _most(calls.exclude(workflow_name=""), "workflow_name"):
        standing = budgets.standing_of(budget, Run(workflow_name=name))
        yield Use(title_of(name), reverse("workflow", args=[name]), standing)


def _most(calls: QuerySet[AgentCall], by: str) -> Sequence[tuple[Any, int]]:
    sums = calls.values_list(by).annotate(took=Sum(F("tokens_in") + F("tokens_out")))
    return list(sums.order_by("-took")[:MAX_LISTED])


def models_without_price() -> list[str]:
    """Return the models of agents whose calls no budget of money sees."""
    priced = Price.objects.values("model")
    agents = Agent.objects.exclude(model__in=priced).order_by("model")
    return list(agents.values_list("model", flat=True).distinct())
