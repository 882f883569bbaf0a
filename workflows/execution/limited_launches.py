"""Launches of workflows with limits: refused, or replacing earlier ones, one per key at a time."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.utils import timezone

from workflows.errors import InvalidStatus, LimitReached
from workflows.execution import queue, run_cancellation, sql
from workflows.execution.limited_claims import starts_of
from workflows.infra import clock, notifications, process_metrics
from workflows.models import EventKind, OutboxEvent, Run, Status
from workflows.outbox import events

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from workflows.engine import Limits
    from workflows.models import AuditEvent

REPORT_EVERY: Final = dt.timedelta(
    minutes=1
)  # of a workflow that refuses many launches


def insert(limits: Limits, run: Run, event: AuditEvent) -> bool:
    """Insert a pending run and the audit event of its launch, if its limits permit it.

    False if its idempotency key is that of an earlier run; nothing is changed then.
    Raises LimitReached.
    """
    try:
        return _insert(limits, run, event)
    except LimitReached as refusal:
        process_metrics.LAUNCHES_REFUSED.labels(run.workflow_name).inc()
        _report(run.workflow_name, refusal)
        raise


def _report(workflow: str, refusal: LimitReached) -> None:
    """Write an event about a refusal, unless there is one of the last REPORT_EVERY."""
    since = timezone.now() - REPORT_EVERY
    recent = OutboxEvent.objects.filter(
        kind=EventKind.LAUNCH_REFUSED, workflow_name=workflow, created_at__gt=since
    )
    if not recent.exists():
        events.write(EventKind.LAUNCH_REFUSED, workflow, {"limit": refusal.limit})


def _insert(limits: Limits, run: Run, event: AuditEvent) -> bool:
    """Insert a run as `insert` does."""
    with transaction.atomic():
        sql.driver().lock_limit_key(f"{run.workflow_name} {run.limit_key}")
        if _is_known(run):
            return False
        make_room(limits, run)
        inserted = queue.enqueue(run, event)
        notifications.launched_on_commit()
        return inserted


def make_room(limits: Limits, run: Run) -> None:
    """Refuse a new run above its limits, or cancel those it replaces; call it in a transaction.

    Raises LimitReached.
    """
    if limits.when_full == "refuse":
        _refuse_above(limits, run)
    elif limits.when_full == "replace" and limits.at_once:
        _replace(_replaceable(run, Status.PENDING, Status.RUNNING), run, limits.at_once)
    if limits.debounce is not None:
        since = timezone.now() - limits.debounce
        waiting = _replaceable(run, Status.PENDING)
        _replace(waiting.filter(attempt=0, created_at__gt=since), run, 1)


def _is_known(run: Run) -> bool:
    if run.idempotency_key is None:
        return False
    same = Run.objects.filter(
        workflow_name=run.workflow_name, idempotency_key=run.idempotency_key
    )
    return same.exists()


def _of_key(run: Run, *statuses: Status) -> QuerySet[Run]:
    return Run.objects.filter(
        workflow_name=run.workflow_name, limit_key=run.limit_key, status__in=statuses
    )


def _refuse_above(limits: Limits, run: Run) -> None:
    """Raise LimitReached if the run would have to wait for a slot or a start."""
    if limits.at_once is not None:
        live = _of_key(run, Status.PENDING, Status.RUNNING)
        if live.order_by()[: limits.at_once].count() >= limits.at_once:
            raise LimitReached(run, f"{limits.at_once} at once")
    if limits.per_minute is not None:
        most = limits.per_minute
        key = (run.workflow_name, run.limit_key or "")
        starts = starts_of(key, clock.now()).order_by()[:most].count()
        waiting = _of_key(run, Status.PENDING).filter(attempt=0)
        if starts + waiting.order_by()[:most].count() >= most:
            raise LimitReached(run, f"{most} per minute")


def _replaceable(run: Run, *statuses: Status) -> QuerySet[Run]:
    """Return the earlier runs of the key that a launch may cancel, the newest first.

    A child run is awaited by its parent; one that is being cancelled or ends leaves anyway.
    """
    return (
        _of_key(run, *statuses)
        .filter(parent=None, closing__isnull=True, cancel_requested_at=None)
        .order_by("-pk")
    )


def _replace(earlier: QuerySet[Run], run: Run, most: int) -> None:
    """Cancel the oldest of these runs, so that there are at most so many with the new one."""
    for old in earlier[most - 1 :]:
        with suppress(InvalidStatus):  # it has just ended
            reason = f"Replaced by run {run.short_id}, a later launch."
            run_cancellation.cancel(old, by=None, reason=reason)
