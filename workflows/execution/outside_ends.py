"""The end of attempts whose own task cannot record it, because its event loop is blocked.

As for a lost worker, each end is one conditional UPDATE of the run in the transaction that
closes its attempt and seals its stages. It carries worker and attempt, and from then on the
fence refuses what the attempt's task still writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from workflows.audit import chain
from workflows.execution import recovery
from workflows.infra import notifications
from workflows.models import Attempt, Outcome, Run, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflows.models.transitions import RunQuerySet


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run fails."""

    message: str
    node: str


def release(runs: Iterable[Run], reason: str, *, charged: bool = False) -> None:
    """Give runs back to the queue at their last checkpoint; cancel those that have to be.

    `charged` counts it as a recovery: at MAX_RECOVERIES the run fails. A run that has left
    this attempt meanwhile is not changed.
    """
    for run in runs:
        _end(run, Outcome.RELEASED, reason, charged=charged)


def fail(run: Run, failure: Failure) -> None:
    """Fail a run, unless it has left this attempt meanwhile."""
    with transaction.atomic():
        changed = _held(run).finish(
            Status.FAILED,
            message=failure.message,
            code="event_loop_blocked",
            node=failure.node,
        )
        if changed:
            _close(run, Outcome.FAILED, failure.message, "event_loop_blocked")


def _end(run: Run, outcome: Outcome, reason: str, *, charged: bool) -> None:
    with transaction.atomic():
        held = _held(run)
        stored = held.select_for_update().first()
        if stored is None:
            return
        if stored.cancel_requested_at is not None:
            held.finish(
                Status.CANCELLED, message=stored.cancel_reason, code="cancelled"
            )
            _close(run, Outcome.CANCELLED, stored.cancel_reason, "cancelled")
        elif charged:
            recovery.end_or_requeue(stored, held)
            _close(run, outcome, reason)
        else:
            held.release()
            _close(run, outcome, reason)


def _held(run: Run) -> RunQuerySet:
    return Run.objects.filter(
        pk=run.pk, worker=run.worker, attempt=run.attempt, status=Status.RUNNING
    )


def _close(run: Run, outcome: Outcome, message: str, code: str = "") -> None:
    Attempt.objects.filter(run=run, number=run.attempt).update(
        ended_at=timezone.now(), outcome=outcome, error_message=message, error_code=code
    )
    chain.interrupt(run.pk)
    notifications.changed_on_commit(run.pk)
    notifications.pending_on_commit()
