"""The rule of each workflow, and the runs that are due by it.

Runs that have not ended, pinned runs, and runs whose parent has not ended are never due: the
parent may still read their result.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from workflows.models import (
    ENDED,
    BulkItem,
    BulkJob,
    CallContent,
    EventMessage,
    EventWait,
    RemovedRun,
    Retention,
    Run,
    WebhookDelivery,
    WebhookEndpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import QuerySet


@dataclass(frozen=True, slots=True)
class Rule:
    """Days for which the runs of a workflow are kept after their end; None = no limit."""

    workflow_name: str
    payload_days: int | None = None
    run_days: int | None = None
    decision_days: int | None = None
    content_days: int | None = None  # of the calls of agents

    def reason(self, days: int | None) -> str:
        """Return the reason for a deletion, for the audit event."""
        plural = "" if days == 1 else "s"
        return f"{days} day{plural} after its end, as the rule for this workflow says"


def rules(only: str = "") -> list[Rule]:
    """Return a rule for each workflow that has runs or remains of them, by name.

    Workflows without an own rule have the rule without a name, if there is one.
    """
    rows = {row.workflow_name: row for row in Retention.objects.all()}
    names = [only] if only else sorted(_names())
    found = []
    for name in names:
        row = rows.get(name) or rows.get("")
        if row is not None:
            days = row.payload_days, row.run_days, row.decision_days, row.content_days
            found.append(Rule(name, *days))
    return found


def _names() -> Iterable[str]:
    """Return the names of all workflows that ever ran, by one index lookup each."""
    names: set[str] = set()
    for model in (Run, RemovedRun):
        last = ""
        while True:
            later = model.objects.filter(workflow_name__gt=last)
            first = later.order_by("workflow_name").values_list("workflow_name").first()
            if first is None:
                break
            last = first[0]
            names.add(last)
    return names


def contents_due(rule: Rule) -> QuerySet[Run]:
    """Return the runs with content of agent calls that is due."""
    if rule.content_days is None:
        return Run.objects.none()
    stored = CallContent.objects.filter(run=OuterRef("pk"))
    return _ended_before(rule, rule.content_days).filter(Exists(stored))


def payloads_due(rule: Rule) -> QuerySet[Run]:
    """Return the runs whose payload is due."""
    if rule.payload_days is None:
        return Run.objects.none()
    due = _ended_before(rule, rule.payload_days)
    return due.filter(payload_removed_at=None)


def runs_due(rule: Rule) -> QuerySet[Run]:
    """Return the runs that are due."""
    if rule.run_days is None:
        return Run.objects.none()
    return _ended_before(rule, rule.run_days)


def histories_due(rule: Rule) -> QuerySet[RemovedRun]:
    """Return the removed runs whose stages and decisions are due."""
    if rule.decision_days is None:
        return RemovedRun.objects.none()
    return RemovedRun.objects.filter(
        workflow_name=rule.workflow_name,
        keeps_history=True,
        completed_at__lt=_days_ago(rule.decision_days),
    ).order_by("completed_at")


def jobs_due() -> QuerySet[BulkJob]:
    """Return the bulk jobs that are due by the run rules of all their workflows."""
    by_days: dict[int, list[str]] = {}
    for rule in rules():
        if rule.run_days is not None:
            by_days.setdefault(rule.run_days, []).append(rule.workflow_name)
    if not by_days:
        return BulkJob.objects.none()
    is_due = Q()
    for days, names in by_days.items():
        is_due |= Q(workflow_name__in=names, job__ended_at__lt=_days_ago(days))
    kept = BulkItem.objects.filter(job=OuterRef("pk")).exclude(is_due)
    ended = BulkJob.objects.filter(ended_at__lt=_days_ago(min(by_days)))
    return ended.exclude(Exists(kept)).order_by("id")


def deliveries_due() -> Iterator[QuerySet[WebhookDelivery]]:
    """Yield the deliveries to webhooks that are due, for each workflow.

    They have the payload that params were made of, so that they go with the data of runs,
    and after WEBHOOK_DELIVERY_DAYS at the latest.
    """
    days_by_name = {
        row.workflow_name: row.payload_days for row in Retention.objects.all()
    }
    names = WebhookEndpoint.objects.order_by().values_list("workflow_name", flat=True)
    for name in sorted(set(names)):
        by_rule = days_by_name.get(name, days_by_name.get(""))
        most = settings.WEBHOOK_DELIVERY_DAYS
        days = most if by_rule is None else min(by_rule, most)
        yield WebhookDelivery.objects.filter(
            endpoint__workflow_name=name, last_at__lt=_days_ago(days)
        ).order_by("received_at")


def messages_due() -> QuerySet[EventMessage]:
    """Return old messages: unused ones, and those whose runs have all ended, none pinned."""
    active = EventWait.objects.filter(message=OuterRef("pk")).exclude(
        run__status__in=ENDED, run__is_pinned=False
    )
    rows = EventMessage.objects.filter(
        created_at__lt=_days_ago(settings.EVENT_KEEP_DAYS)
    )
    return rows.exclude(Exists(active)).order_by("created_at")


def _ended_before(rule: Rule, days: int) -> QuerySet[Run]:
    ended = Run.objects.filter(
        workflow_name=rule.workflow_name,
        completed_at__lt=_days_ago(days),
        status__in=ENDED,
        is_pinned=False,
    )
    is_free = Q(parent=None) | Q(parent__status__in=ENDED)
    return ended.filter(is_free).order_by("completed_at")


def _days_ago(days: int) -> dt.datetime:
    return timezone.now() - dt.timedelta(days=days)
