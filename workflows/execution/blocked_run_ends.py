"""The end of attempts whose own task cannot record it, because its event loop is blocked.

As for a lost worker, each end is one conditional UPDATE of the run in the transaction that
closes its attempt and seals its stages. It carries worker and attempt, and from then on the
fence refuses what the attempt's task still writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from workflows.execution import recovery
from workflows.infra import notifications
from workflows.models import Outcome, Run

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run fails."""

    message: str
    node: str


def withdraw(runs: Iterable[Run], reason: str) -> None:
    """Requeue runs that have not begun: the stage that their claim recorded is removed."""
    for run in runs:
        recovery.same_attempt(run).update(current_stage=None)
        _release(run, reason, charged=False)


def release(runs: Iterable[Run], reason: str, *, charged: bool = False) -> None:
    """Return runs to the queue at their last checkpoint; cancel those that have to be.

    `charged` counts it as a recovery: at MAX_RECOVERIES the run fails. A run that has left
    this attempt meanwhile is not changed.
    """
    for run in runs:
        _release(run, reason, charged=charged)


def fail(run: Run, failure: Failure) -> None:
    """Fail a run, unless it has left this attempt meanwhile."""
    with transaction.atomic():
        held = recovery.same_attempt(run)
        stored = held.first()
        changed = stored is not None and recovery.fail(
            stored,
            held,
            message=failure.message,
            code="event_loop_blocked",
            node=failure.node,
        )
        if changed:
            _close(run, Outcome.FAILED, failure.message, "event_loop_blocked")


def _release(run: Run, reason: str, *, charged: bool) -> None:
    with transaction.atomic():
        held = recovery.same_attempt(run)
        stored = held.select_for_update().first()
        if stored is None:
            return
        if recovery.is_cancel_due(stored):
            recovery.cancel(stored, held)
            _close(run, Outcome.CANCELLED, stored.cancel_reason, "cancelled")
            return
        if charged:
            recovery.end_or_requeue(stored, held)
        else:
            held.release()
        _close(run, Outcome.RELEASED, reason)


def _close(run: Run, outcome: Outcome, message: str, code: str = "") -> None:
    recovery.close_attempt(run, outcome, message, code)
    notifications.changed_on_commit(run.pk)
    notifications.pending_on_commit()
