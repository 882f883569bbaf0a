"""What people do with alert rules: create, change and delete them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final

from django.db import transaction

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import AlertNotFound, InvalidAlert
from workflows.infra import clock
from workflows.models import AlertMetric, AlertRule
from workflows.services import entry_rules, named_rows
from workflows.system import System, system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

MAX_WINDOW: Final = 7 * 24 * 60  # minutes
MAX_LIMIT: Final = 1e12
MAX_RULES: Final = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person enters about a rule."""

    name: str
    metric: str
    raise_above: float
    clear_at: float | None = None  # None: as `raise_above`
    window_minutes: int = 60
    min_count: int = 1
    from_node: str = ""
    to_node: str = ""


def visible_rules(user: User) -> QuerySet[AlertRule]:
    """Return the rules of the workflows that a person may see."""
    return permissions.visible(user, AlertRule.objects.all())


def can_change(user: User, workflow: str) -> bool:
    """Return whether a person may set up rules of a workflow: who may operate its runs."""
    return workflow in permissions.permissions_for(user).operate


def find(rule_id: UUID | str, *, by: User) -> AlertRule:
    """Return a rule. Raises AlertNotFound, also if `by` may not see it."""
    try:
        return visible_rules(by).get(pk=rule_id)
    except (AlertRule.DoesNotExist, ValueError) as error:
        raise AlertNotFound from error


def create(
    workflow: str, plan: Plan, *, by: User, executor: System = system
) -> AlertRule:
    """Create a rule. Raises WorkflowNotFound, NotAllowed, InvalidAlert."""
    found = executor.find_workflow(workflow, by=by)
    permissions.require(can_change(by, found.name), "set up alerts of this workflow")
    if AlertRule.objects.count() >= MAX_RULES:
        text = f"There are {MAX_RULES} rules already. Delete one first."
        raise InvalidAlert({"": [text]})
    return _save(AlertRule(workflow_name=found.name), plan, "create alert", by=by)


def change(rule_id: UUID | str, plan: Plan, *, by: User) -> AlertRule:
    """Change a rule. Raises AlertNotFound, NotAllowed, InvalidAlert."""
    with transaction.atomic():
        return _save(_locked(rule_id, by), plan, "change alert", by=by)


def delete(rule_id: UUID | str, *, by: User, reason: str) -> AlertRule:
    """Delete a rule with its history. Raises AlertNotFound, NotAllowed, ReasonMissing."""
    with transaction.atomic():
        rule = _locked(rule_id, by)
        name = rule.workflow_name
        named_rows.delete(rule, "delete alert", by=by, reason=reason, workflow=name)
    return rule


def _locked(rule_id: UUID | str, by: User) -> AlertRule:
    found = find(rule_id, by=by)
    permissions.require(
        can_change(by, found.workflow_name), "set up alerts of this workflow"
    )
    return named_rows.locked(found, AlertNotFound)


def _save(rule: AlertRule, plan: Plan, action: str, *, by: User) -> AlertRule:
    _validate(plan)
    clear_at = plan.raise_above if plan.clear_at is None else plan.clear_at
    rule.name = entry_rules.normalised(plan.name)
    rule.metric, rule.raise_above, rule.clear_at = (
        plan.metric,
        plan.raise_above,
        clear_at,
    )
    rule.window_minutes, rule.min_count = plan.window_minutes, plan.min_count
    rule.from_node, rule.to_node = plan.from_node, plan.to_node
    rule.owner, rule.owner_name = by, by.get_username()
    rule.updated_at = clock.now()
    taken = f"{rule.workflow_name} has an alert “{rule.name}” already."
    with (
        named_rows.unique_name(taken, InvalidAlert),
        audit_events.changing(action, rule, by=by, workflow=rule.workflow_name),
    ):
        rule.save()
    return rule


def _validate(plan: Plan) -> None:
    is_edge = plan.metric == AlertMetric.EDGE_SHARE
    is_share = is_edge or plan.metric == AlertMetric.FAILED_SHARE
    most = 1.0 if is_share else MAX_LIMIT
    clear_at = plan.raise_above if plan.clear_at is None else plan.clear_at
    texts = (plan.from_node, plan.to_node)
    rules = {
        "name": entry_rules.name_rule(plan.name),
        "metric": entry_rules.choice_rule(plan.metric, AlertMetric.values),
        "raise_above": (
            isfinite(plan.raise_above) and 0 <= plan.raise_above <= most,
            f"Enter a number from 0 to {most:g}.",
        ),
        "clear_at": (
            isfinite(clear_at) and 0 <= clear_at <= plan.raise_above,
            "Enter a number from 0 to the limit.",
        ),
        "window_minutes": (
            1 <= plan.window_minutes <= MAX_WINDOW,
            f"Enter 1 to {MAX_WINDOW:,} minutes.",
        ),
        "min_count": (1 <= plan.min_count <= 10**6, "Enter 1 to 1,000,000."),
        "from_node": (
            all(texts) == any(texts) == is_edge and "\x00" not in "".join(texts),
            "Enter both nodes of the edge, for the share of an edge only.",
        ),
    }
    errors = entry_rules.errors_of(rules)
    if errors:
        raise InvalidAlert(errors)
