"""Budgets: what agents may take before a person is asked. Nothing fails because of one.

Before each call the budgets that count it are looked at. Where one is used up, the run
pauses with a question, as an approval does, and the node that asked runs again once
somebody allowed more. Calls that are under way meanwhile are finished, so that a budget
can be passed by what they take.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings
from django.db.models import Q, Sum
from django.utils import timezone
from pydantic import BaseModel, Field, ValidationError

from workflows.agents import usage
from workflows.engine.errors import Paused
from workflows.errors import InvalidParams
from workflows.models import AgentCall, Budget, BudgetRaise, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import QuerySet

    from workflows.agents.usage import Usage
    from workflows.models import Approval, Run

CONTINUE, CANCEL = "go on", "stop the run"
SCOPE_LABELS = {
    Scope.RUN: "in this run",
    Scope.WORKFLOW: "in all runs of this workflow",
    Scope.DAY: "today",
}


class BudgetIncrease(BaseModel):
    """What a person answers when a budget is used up."""

    outcome: Literal["go on", "stop the run"]
    tokens: int | None = Field(None, ge=1, le=10**12)
    cost: Decimal | None = Field(None, gt=0, le=10**9)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a budget is used up, for one run."""

    budget: Budget
    used: Usage
    tokens: int | None  # allowed in all; None: any
    cost: Decimal | None

    @property
    def spent(self) -> Decimal:
        """Return the money that was used, 0 where no call has a price."""
        return self.used.cost or Decimal(0)

    @property
    def is_reached(self) -> bool:
        """Tell whether nothing is left of it."""
        return (self.tokens is not None and self.used.tokens >= self.tokens) or (
            self.cost is not None and self.spent >= self.cost
        )

    @property
    def share(self) -> float:
        """Return how much of it is used up, 0..1: the larger of tokens and money."""
        shares = [0.0]
        if self.tokens:
            shares.append(self.used.tokens / self.tokens)
        if self.cost is not None:
            shares.append(float(self.spent / self.cost) if self.cost else 1.0)
        return min(max(shares), 1.0)

    @property
    def in_words(self) -> str:
        """Return what was used of what is allowed."""
        parts = []
        if self.tokens is not None:
            parts.append(f"{self.used.tokens:,} of {self.tokens:,} tokens")
        if self.cost is not None:
            money = f"{_format_amount(self.spent)} of {_format_amount(self.cost)}"
            parts.append(f"{money} {settings.CURRENCY}")
        return " and ".join(parts)


class BudgetReached(Paused):
    """A budget is used up: a person is asked for more, and the node runs again."""

    again = True

    def __init__(self, standing: Standing) -> None:
        """Put the question."""
        budget = standing.budget
        super().__init__(
            "approval",
            question=f"The budget “{budget.name}” is used up: {standing.in_words} were"
            f" used {SCOPE_LABELS[Scope(budget.scope)]}. Allow more?",
            form=form_of(budget),
            groups=budget.groups,
        )
        self.budget_id = budget.pk


def form_of(budget: Budget) -> dict[str, Any]:
    """Return the schema of the answer: as much again, unless somebody says otherwise."""
    fields: dict[str, Any] = {
        "outcome": {
            "type": "string",
            "enum": [CONTINUE, CANCEL],
            "title": "Outcome",
            "default": CONTINUE,
        }
    }
    if budget.tokens is not None:
        fields["tokens"] = {
            "type": "integer",
            "title": "Tokens to allow beyond that",
            "minimum": 1,
            "default": budget.tokens,
        }
    if budget.cost is not None:
        fields["cost"] = {
            "type": "number",
            "title": f"{settings.CURRENCY} to allow beyond that",
            "exclusiveMinimum": 0,
            "default": float(budget.cost),
        }
    return {"type": "object", "properties": fields, "required": ["outcome"]}


def reached(run: Run, unsaved: Sequence[AgentCall] = ()) -> BudgetReached | None:
    """Return the pause that the next call of a run has to make, None if it need not.

    `unsaved` are calls of this run that the database may not have yet.
    """
    budgets = Budget.objects.filter(
        Q(workflow_name="") | Q(workflow_name=run.workflow_name), is_enabled=True
    )
    for budget in budgets:
        standing = standing_of(budget, run, unsaved)
        if standing.is_reached:
            return BudgetReached(standing)
    return None


def standing_of(
    budget: Budget, run: Run, unsaved: Sequence[AgentCall] = ()
) -> Standing:
    """Return how far a budget is used up, as a run sees it."""
    known = counted_calls(budget, run).exclude(pk__in=[call.pk for call in unsaved])
    used = usage.plus(usage.of(known), unsaved)
    more = increases_for(budget, run).aggregate(tokens=Sum("tokens"), cost=Sum("cost"))
    return Standing(
        budget,
        used,
        None if budget.tokens is None else budget.tokens + (more["tokens"] or 0),
        None if budget.cost is None else budget.cost + (more["cost"] or 0),
    )


def counted_calls(budget: Budget, run: Run) -> QuerySet[AgentCall]:
    """Return the calls that a budget counts together with those of a run."""
    calls = AgentCall.objects.order_by()
    if budget.scope == Scope.RUN:
        return calls.filter(run=run.pk)
    if budget.scope == Scope.WORKFLOW:
        return calls.filter(workflow_name=run.workflow_name)
    today = calls.filter(created_at__gte=midnight())
    named = budget.workflow_name
    return today.filter(workflow_name=named) if named else today


def increases_for(budget: Budget, run: Run) -> QuerySet[BudgetRaise]:
    """Return what was allowed beyond a budget for a run, its workflow or its day."""
    raises = BudgetRaise.objects.filter(budget=budget).order_by()
    if budget.scope == Scope.RUN:
        return raises.filter(run=run.pk)
    if budget.scope == Scope.WORKFLOW:
        return raises.filter(workflow_name=run.workflow_name)
    return raises.filter(day=server_day())


def midnight() -> dt.datetime:
    """Return when this day began on the server, which is one day for all people."""
    return dt.datetime.combine(server_day(), dt.time(), timezone.get_default_timezone())


def server_day() -> dt.date:
    """Return the day it is on the server, whatever zone a request is answered in."""
    return timezone.localdate(timezone=timezone.get_default_timezone())


def check_more(approval: Approval, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as JSON. Raises InvalidParams: it cannot be, or is not enough."""
    try:
        more = BudgetIncrease.model_validate(dict(given))
    except ValidationError as error:
        raise InvalidParams(
            {
                str(problem["loc"][0]) if problem["loc"] else "": [problem["msg"]]
                for problem in error.errors(include_url=False)
            }
        ) from error
    if more.outcome == CONTINUE and approval.budget is not None:
        _require_enough(standing_of(approval.budget, approval.run), more)
    return more.model_dump(mode="json", exclude_none=True)


def _require_enough(standing: Standing, more: BudgetIncrease) -> None:
    if standing.tokens is not None:
        missing = standing.used.tokens + 1 - standing.tokens
        if (more.tokens or 0) < missing:
            raise InvalidParams(
                {"tokens": [f"Allow at least {missing:,} tokens more."]}
            )
    if standing.cost is not None:
        beyond = standing.spent - standing.cost
        if (more.cost or 0) <= beyond:
            raise InvalidParams(
                {"cost": [f"Allow more than {_format_amount(beyond)}."]}
            )


def allow_more(
    approval: Approval, answer: Mapping[str, Any], by: AbstractBaseUser
) -> bool:
    """Record what a person allowed; False when the run is to stop instead."""
    if answer["outcome"] == CANCEL:
        return False
    if approval.budget is not None:  # else it was deleted meanwhile: nothing limits it
        BudgetRaise.objects.create(
            budget=approval.budget,
            run=approval.run,
            workflow_name=approval.run.workflow_name,
            day=server_day(),
            tokens=answer.get("tokens", 0),
            cost=Decimal(str(answer.get("cost", 0))),
            by_id=by.pk,
            by_name=by.get_username(),
        )
    return True


def _format_amount(amount: Decimal) -> str:
    """Return a sum with the digits that count."""
    return f"{amount.normalize():f}"


def told(answer: Mapping[str, Any]) -> str:
    """Return what was allowed, for the audit."""
    parts = []
    if answer.get("tokens"):
        parts.append(f"{answer['tokens']:,} tokens")
    if answer.get("cost"):
        parts.append(f"{answer['cost']} {settings.CURRENCY}")
    return f"allowed {' and '.join(parts)} more" if parts else ""
