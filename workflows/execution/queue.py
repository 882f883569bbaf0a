"""The row is the queue: enqueue, claim, keep, and find what was left behind.

Messages only say "look". What makes a run someone's is a conditional UPDATE here, so
two workers never hold the same run and a lost message loses nothing.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, OuterRef, Subquery
from django.utils import timezone

from workflows.audit import chain
from workflows.execution.sql import queue
from workflows.infra import clock, metrics, notifications
from workflows.models import (
    ENDED,
    Approval,
    ApprovalStatus,
    Attempt,
    Outcome,
    Run,
    Stage,
    StageStatus,
    Status,
    WaitKind,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from uuid import UUID

    from workflows.models import AuditEvent
    from workflows.models.transitions import RunQuerySet


def enqueue(run: Run, deed: AuditEvent) -> bool:
    """Put a new run into the queue, with the deed that launched it.

    False when its idempotency key has made a run already; nothing is written then.
    """
    chain.begin(run)
    chain.seal_first(run, deed)
    with _together():
        made = queue.insert_run(connection, run, deed)
    run._state.adding = not made  # noqa: SLF001 - as `save` would
    return made


def claim(worker: str, limit: int) -> list[Run]:
    """Take up to `limit` pending runs for this worker, and open an attempt of each.

    By priority, then fair between workflows, then by age. One conditional update: a
    rival may have been faster, then fewer move.
    """
    with _together():
        runs = queue.take_pending(connection, worker, limit, timezone.now())
    return sorted(runs, key=lambda run: (-run.priority, run.pk))


def renew(worker: str, held: Iterable[UUID]) -> dict[UUID, tuple[int, str | None]]:
    """Extend the leases of the runs held; return attempt and cancel reason of each.

    A run that is missing from the answer is no longer this worker's. The reason is
    None unless someone asked for the run to be cancelled.
    """
    rows = queue.renew_leases(connection, worker, list(held))
    return {pk: (attempt, reason if at else None) for pk, attempt, at, reason in rows}


def _together() -> AbstractContextManager[Any]:
    """Give what makes a change of two tables one: a statement is one by itself."""
    return nullcontext() if connection.vendor == "postgresql" else transaction.atomic()


def sweep(
    lost: Callable[[Iterable[Run]], Iterable[Run]] = lambda expired: expired,
) -> list[UUID]:
    """Find what was left behind and put it right; return the runs that changed.

    1. Runs whose worker was lost: back to the queue, or to their end. `lost` tells them
       from those whose lease ran out for another reason.
    2. Pauses that are over: a moment that came, a question that expired, a child
       run that ended while nobody looked.
    """
    now = clock.now()
    changed = [*_recover_lost(now, lost), *_wake_due(now), *_wake_parents()]
    for run_id in changed:
        notifications.changed_on_commit(run_id)
    return changed


def wake_due() -> float | None:
    """Wake the runs whose time has come; return the seconds until the next is due.

    None when none waits for a moment. The time is the database's.
    """
    for run_id in _wake_due(clock.now()):
        notifications.changed_on_commit(run_id)
        notifications.pending_on_commit()
    waiting = Run.objects.filter(status=Status.WAITING, wake_at__isnull=False)
    due = waiting.order_by("wake_at").values_list("wake_at", flat=True).first()
    return None if due is None else (due - clock.now()).total_seconds()


def _recover_lost(
    now: dt.datetime, lost: Callable[[Iterable[Run]], Iterable[Run]]
) -> Iterable[UUID]:
    for run in lost(Run.objects.expired(now)):
        with transaction.atomic():
            # the same attempt and still expired: its worker may have come back
            same = Run.objects.expired(now).filter(
                pk=run.pk,
                attempt=run.attempt,
                lease_expires_at=run.lease_expires_at,
            )
            if not _end_or_requeue(run, same):
                continue
            _close_attempt(run)
        metrics.RECOVERIES.inc()
        yield run.pk


def _end_or_requeue(run: Run, runs: RunQuerySet) -> int:
    if run.cancel_requested_at is not None:
        return runs.finish(
            Status.CANCELLED, message=run.cancel_reason, code="cancelled"
        )
    if run.recoveries + 1 >= settings.MAX_RECOVERIES:
        return runs.finish(
            Status.FAILED,
            message=f"The run lost its worker {run.recoveries + 1} times in a row, the"
            f" last time {run.worker}, without finishing a step. It was not tried again:"
            " look at the worker's log and memory, then resume it.",
            code="worker_lost",
            node=_running_node(run),
        )
    return runs.recover()


def _running_node(run: Run) -> str:
    stage = Stage.objects.filter(run=run, status=StageStatus.STARTED).last()
    return stage.node_name if stage else ""


def _close_attempt(run: Run) -> None:
    """Write into the history that the worker was lost."""
    Attempt.objects.filter(run=run, number=run.attempt).update(
        ended_at=timezone.now(),
        outcome=Outcome.LOST,
        error_message=f"Worker {run.worker} did not renew its lease in time.",
        error_code="worker_lost",
    )
    chain.interrupt(run.pk)


def _wake_due(now: dt.datetime) -> Iterable[UUID]:
    due = Run.objects.filter(status=Status.WAITING, wake_at__lte=now)
    for run_id in due.values_list("pk", flat=True):
        with transaction.atomic():
            overdue = Approval.objects.filter(run=run_id, expires_at__lte=now)
            overdue.open().update(
                status=ApprovalStatus.EXPIRED, answer=F("on_expiry"), answered_at=now
            )
            if not Run.objects.filter(pk=run_id, wake_at__lte=now).wake():
                continue
        yield run_id


def _wake_parents() -> Iterable[UUID]:
    """Wake parents whose child ended: the net below `wake_parent`."""
    child = Run.objects.filter(
        parent=OuterRef("pk"), parent_sequence=OuterRef("sequence") + 1
    ).order_by("-id")
    waiting = Run.objects.filter(
        status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW
    ).annotate(child_status=Subquery(child.values("status")[:1]))
    for run_id in waiting.filter(child_status__in=ENDED).values_list("pk", flat=True):
        if Run.objects.filter(pk=run_id, waiting_for=WaitKind.SUBWORKFLOW).wake():
            yield run_id


def wake_parent(child_id: UUID) -> None:
    """Let the run that waits for this one go on, if this one has ended."""
    parent = Run.objects.filter(
        children__in=Run.objects.filter(pk=child_id, status__in=ENDED),
        status=Status.WAITING,
        waiting_for=WaitKind.SUBWORKFLOW,
    )
    parent_id = parent.values_list("pk", flat=True).first()
    if parent_id and Run.objects.filter(pk=parent_id).wake():
        notifications.changed_on_commit(parent_id)
        notifications.pending_on_commit()
