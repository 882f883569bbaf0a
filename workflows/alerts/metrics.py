"""The present value of an alert rule. Each is one or two queries by an index."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, Min, Q, Sum

from workflows.models import AgentCall, AlertMetric, Run, Status
from workflows.models.id_ranges import decisions_between

if TYPE_CHECKING:
    from workflows.models import AlertRule


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, and the number of runs or evaluations that it is a share of."""

    value: float
    count: int


def measure(rule: AlertRule, now: dt.datetime) -> Measured:
    """Return the value of a rule; without any data it is 0."""
    since = now - dt.timedelta(minutes=rule.window_minutes)
    known = {
        AlertMetric.FAILED_SHARE: _failed_share,
        AlertMetric.EDGE_SHARE: _edge_share,
        AlertMetric.COST: _cost,
        AlertMetric.PERSON_COST: _person_cost,
    }
    if of_window := known.get(AlertMetric(rule.metric)):
        return of_window(rule, since)
    return _pending_age(rule, now)


def _failed_share(rule: AlertRule, since: dt.datetime) -> Measured:
    """Return failed / (completed + failed): a cancelled run is neither."""
    ended = Run.objects.order_by().filter(
        workflow_name=rule.workflow_name,
        completed_at__gte=since,
        status__in=(Status.COMPLETED, Status.FAILED),
    )
    failed = Count("pk", filter=Q(status=Status.FAILED))
    return _share(**ended.aggregate(part=failed, whole=Count("pk")))


def _edge_share(rule: AlertRule, since: dt.datetime) -> Measured:
    """Return how often an edge was taken among those taken at its node."""
    taken = decisions_between(since, None).order_by()
    taken = taken.filter(
        workflow_name=rule.workflow_name, from_node=rule.from_node, taken=True
    )
    edge = Count("pk", filter=Q(to_node=rule.to_node))
    return _share(**taken.aggregate(part=edge, whole=Count("pk")))


def _share(part: int, whole: int) -> Measured:
    return Measured(part / whole if whole else 0.0, whole)


def _cost(rule: AlertRule, since: dt.datetime) -> Measured:
    calls = AgentCall.objects.order_by().filter(
        workflow_name=rule.workflow_name, created_at__gte=since
    )
    found = calls.aggregate(cost=Sum("cost"), count=Count("pk"))
    return Measured(float(found["cost"] or 0), found["count"])


def _person_cost(rule: AlertRule, since: dt.datetime) -> Measured:
    """Return the cost of the person who used most, and the number of their calls."""
    calls = AgentCall.objects.order_by().filter(
        workflow_name=rule.workflow_name, created_at__gte=since, person__isnull=False
    )
    persons = calls.values("person").annotate(cost=Sum("cost"), count=Count("pk"))
    most = max(persons, key=lambda row: row["cost"] or 0, default=None)
    if most is None:
        return Measured(0.0, 0)
    return Measured(float(most["cost"] or 0), most["count"])


def _pending_age(rule: AlertRule, now: dt.datetime) -> Measured:
    """Return for how many minutes the oldest pending run has waited for a worker."""
    pending = Run.objects.order_by().filter(
        workflow_name=rule.workflow_name, status=Status.PENDING
    )
    found = pending.aggregate(since=Min("updated_at"), count=Count("pk"))
    age = (now - found["since"]).total_seconds() / 60 if found["since"] else 0.0
    return Measured(max(age, 0.0), found["count"])
