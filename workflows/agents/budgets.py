"""Budgets: limits on tokens and cost beyond which a run pauses for approval.

The budgets that apply are checked before each call. If one is used up, the run pauses
with an approval, and the node runs again once someone increases the budget. Calls that
are in progress at that time finish, so a budget can be exceeded by them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, Sum
from django.utils import timezone
from pydantic import BaseModel, Field, ValidationError

from workflows.agents import usage
from workflows.agents.payers import existing, payer_of
from workflows.engine.errors import Paused
from workflows.errors import InvalidParams
from workflows.models import PERSONAL, AgentCall, Budget, BudgetRaise, Run, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import QuerySet

    from workflows.agents.usage import Usage
    from workflows.models import Approval

CONTINUE, CANCEL = "continue", "cancel the run"
SCOPE_LABELS = {
    Scope.RUN: "in this run",
    Scope.WORKFLOW: "in all runs of this workflow",
    Scope.DAY: "today",
    Scope.PERSON: "by {} this month",
    Scope.PERSON_DAY: "by {} today",
}


class BudgetIncrease(BaseModel):
    """The approver's response when a budget is used up."""

    outcome: Literal["continue", "cancel the run"]
    tokens: int | None = Field(None, ge=1, le=10**12)
    cost: Decimal | None = Field(None, gt=0, le=10**9)


@dataclass(frozen=True, slots=True)
class BudgetUsage:
    """Usage of a budget as it applies to one run."""

    budget: Budget
    used: Usage
    tokens: int | None  # limit including increases; None: unlimited
    cost: Decimal | None
    person: str = ""  # user name, of a budget per person

    @property
    def spent(self) -> Decimal:
        """Return the cost so far, 0 if no call has a price."""
        return self.used.cost or Decimal(0)

    @property
    def is_reached(self) -> bool:
        """Whether tokens or cost have reached the limit."""
        return (self.tokens is not None and self.used.tokens >= self.tokens) or (
            self.cost is not None and self.spent >= self.cost
        )

    @property
    def share(self) -> float:
        """Return the used share, 0..1: the larger of tokens and cost."""
        shares = [0.0]
        if self.tokens:
            shares.append(self.used.tokens / self.tokens)
        if self.cost is not None:
            shares.append(float(self.spent / self.cost) if self.cost else 1.0)
        return min(max(shares), 1.0)

    @property
    def summary(self) -> str:
        """Return usage and limit, for example "10 of 100 tokens"."""
        parts = []
        if self.tokens is not None:
            parts.append(f"{self.used.tokens:,} of {self.tokens:,} tokens")
        if self.cost is not None:
            money = f"{_format_money(self.spent)} of {_format_money(self.cost)}"
            parts.append(f"{money} {settings.CURRENCY}")
        return " and ".join(parts)

    @property
    def sentence(self) -> str:
        """Return that the budget is used up, and by whom or what."""
        budget = self.budget
        label = SCOPE_LABELS[Scope(budget.scope)].format(self.person)
        return (
            f"The budget “{budget.name}” is used up: {self.summary} were used {label}."
        )


class BudgetReached(Paused):
    """A budget is used up: the run pauses for approval and the node runs again after it."""

    again = True

    def __init__(self, standing: BudgetUsage) -> None:
        budget = standing.budget
        super().__init__(
            "approval",
            question=f"{standing.sentence} Allow more?",
            form=form_of(budget),
            groups=budget.groups,
        )
        self.budget_id = budget.pk


def form_of(budget: Budget) -> dict[str, Any]:
    """Return the response schema; the default increase equals the budget."""
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
            "title": "Additional tokens",
            "minimum": 1,
            "default": budget.tokens,
        }
    if budget.cost is not None:
        fields["cost"] = {
            "type": "number",
            "title": f"Additional {settings.CURRENCY}",
            "exclusiveMinimum": 0,
            "default": float(budget.cost),
        }
    return {"type": "object", "properties": fields, "required": ["outcome"]}


def reached(run: Run, unsaved: Sequence[AgentCall] = ()) -> BudgetReached | None:
    """Return the pause that is due before a run's next call, None if there is none.

    `unsaved` are calls of this run that may not be in the database yet.
    """
    budgets = Budget.objects.filter(
        Q(workflow_name="") | Q(workflow_name=run.workflow_name), is_enabled=True
    )
    for budget in budgets:
        if not applies_to(budget, run):
            continue
        standing = usage_of_budget(budget, run, unsaved)
        if standing.is_reached:
            return BudgetReached(standing)
    return None


def reached_by(person_id: int) -> BudgetUsage | None:
    """Return the budget per person that a person has used up, for calls outside of runs."""
    budgets = Budget.objects.filter(
        workflow_name="", is_enabled=True, scope__in=PERSONAL
    )
    of_person = Run(launched_by_id=person_id)
    for budget in budgets:
        if applies_to(budget, of_person):
            standing = usage_of_budget(budget, of_person)
            if standing.is_reached:
                return standing
    return None


def applies_to(budget: Budget, run: Run) -> bool:
    """Return whether a budget limits a run, by the person who pays for it."""
    if budget.scope not in PERSONAL:
        return True
    payer = payer_of(run)
    return payer is not None and budget.person_id in {None, payer}


def usage_of_budget(
    budget: Budget, run: Run, unsaved: Sequence[AgentCall] = ()
) -> BudgetUsage:
    """Return the usage of a budget as it applies to a run."""
    known = counted_calls(budget, run).exclude(pk__in=[call.pk for call in unsaved])
    used = usage.plus(usage.of(known), unsaved)
    more = increases_for(budget, run).aggregate(tokens=Sum("tokens"), cost=Sum("cost"))
    return BudgetUsage(
        budget,
        used,
        None if budget.tokens is None else budget.tokens + (more["tokens"] or 0),
        None if budget.cost is None else budget.cost + (more["cost"] or 0),
        _name_of_payer(run) if budget.scope in PERSONAL else "",
    )


def _name_of_payer(run: Run) -> str:
    payer_id = payer_of(run)
    payer = User.objects.filter(pk=payer_id).first() if payer_id else None
    return payer.get_username() if payer else "a deleted account"


def counted_calls(budget: Budget, run: Run) -> QuerySet[AgentCall]:
    """Return the calls that a budget counts together with those of a run."""
    calls = AgentCall.objects.order_by()
    if budget.scope == Scope.RUN:
        return calls.filter(run=run.pk)
    if budget.scope == Scope.WORKFLOW:
        return calls.filter(workflow_name=run.workflow_name)
    if budget.scope in PERSONAL:
        since = start_of_period(budget)
        mine = calls.filter(person=payer_of(run), created_at__gte=since)
        only = budget.workflow_name
        return mine.filter(workflow_name=only) if only else mine
    today = calls.filter(created_at__gte=midnight())
    named = budget.workflow_name
    return today.filter(workflow_name=named) if named else today


def increases_for(budget: Budget, run: Run) -> QuerySet[BudgetRaise]:
    """Return the increases of a budget for a run, its workflow, its payer or its day."""
    raises = BudgetRaise.objects.filter(budget=budget).order_by()
    if budget.scope == Scope.RUN:
        return raises.filter(run=run.pk)
    if budget.scope == Scope.WORKFLOW:
        return raises.filter(workflow_name=run.workflow_name)
    if budget.scope in PERSONAL:
        raises = raises.filter(person=payer_of(run))
    if budget.scope == Scope.PERSON:
        return raises.filter(day__gte=server_day().replace(day=1))
    return raises.filter(day=server_day())


def start_of_period(budget: Budget) -> dt.datetime:
    """Return the start of the month of a budget per person and month, else of the day."""
    if budget.scope == Scope.PERSON:
        return start_of(server_day().replace(day=1))
    return midnight()


def midnight() -> dt.datetime:
    """Return the start of the current day in the server's time zone."""
    return start_of(server_day())


def start_of(day: dt.date) -> dt.datetime:
    """Return the start of a day in the server's time zone."""
    return dt.datetime.combine(day, dt.time(), timezone.get_default_timezone())


def server_day() -> dt.date:
    """Return the current date in the server's time zone, independent of the zone of a request."""
    return timezone.localdate(timezone=timezone.get_default_timezone())


def validate_increase(approval: Approval, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response as JSON. Raises InvalidParams if it is invalid or insufficient."""
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
        _require_enough(usage_of_budget(approval.budget, approval.run), more)
    return more.model_dump(mode="json", exclude_none=True)


def _require_enough(standing: BudgetUsage, more: BudgetIncrease) -> None:
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


def grant_increase(
    approval: Approval, answer: Mapping[str, Any], by: AbstractBaseUser
) -> bool:
    """Record an increase; return False if the run is to be cancelled."""
    if answer["outcome"] == CANCEL:
        return False
    if approval.budget is not None:  # a deleted budget no longer limits anything
        BudgetRaise.objects.create(
            budget=approval.budget,
            run=approval.run,
            workflow_name=approval.run.workflow_name,
            person_id=existing(payer_of(approval.run)),
            day=server_day(),
            tokens=answer.get("tokens", 0),
            cost=Decimal(str(answer.get("cost", 0))),
            by_id=by.pk,
            by_name=by.get_username(),
        )
    return True


def _format_amount(amount: Decimal) -> str:
    """Return an amount without trailing zeros."""
    return f"{amount.normalize():f}"


def _format_money(amount: Decimal) -> str:
    """Return an amount to the cent, rounded down; below 1 with all its digits."""
    if amount and amount < 1:
        return _format_amount(amount)
    return f"{amount.quantize(Decimal('0.01'), ROUND_DOWN):,}"


def increase_text(answer: Mapping[str, Any]) -> str:
    """Return a description of the increase for the audit log."""
    parts = []
    if answer.get("tokens"):
        parts.append(f"{answer['tokens']:,} tokens")
    if answer.get("cost"):
        parts.append(f"{answer['cost']} {settings.CURRENCY}")
    return f"allowed {' and '.join(parts)} more" if parts else ""
