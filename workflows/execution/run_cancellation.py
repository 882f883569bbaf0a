"""Cancel a run and the active runs below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.utils import timezone

from workflows.audit import audit_events, seal_rows
from workflows.errors import InvalidStatus
from workflows.execution import event_delivery, run_tree, undo_and_end
from workflows.infra import notifications
from workflows.models import CANCELLABLE, Run, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

MAX_RUNS: Final = 200  # per transaction, which limits the time of its locks


def cancel(run: Run, *, by: AbstractBaseUser | None, reason: str) -> None:
    """Cancel a run, then the runs it waits for, from the top down.

    The run and the first ones below it are cancelled in one transaction; deeper runs
    follow in transactions of MAX_RUNS each. A parent is cancelled before its child, so
    that the end of the child does not wake it. Raises InvalidStatus.
    """
    remaining: Sequence[UUID] = [run.pk]
    above: Sequence[UUID] = ()
    is_first = True
    while remaining:
        with transaction.atomic():
            count = 0
            while remaining and count < MAX_RUNS:
                cancelled = _cancel_some(remaining, by=by, reason=reason)
                if is_first and not cancelled:
                    raise InvalidStatus(Run.objects.get(pk=run.pk), wanted="cancelled")
                is_first = False
                count += len(remaining)
                above, remaining = remaining, _below(above, remaining)


def cancel_below(run_id: UUID, reason: str) -> None:
    """Cancel the runs that a run waits for, whose end it does not await any more."""
    while remaining := run_tree.unfinished_below([run_id], MAX_RUNS):
        with transaction.atomic():
            _cancel_some(remaining, by=None, reason=reason)


def _below(above: Sequence[UUID], cancelled: Sequence[UUID]) -> Sequence[UUID]:
    """Return the next runs to cancel, below these and the ones before.

    A child that completed meanwhile may have been continued by another child of its parent.
    """
    return run_tree.unfinished_below([*above, *cancelled], MAX_RUNS)


def _cancel_some(
    run_ids: Sequence[UUID], *, by: AbstractBaseUser | None, reason: str
) -> int:
    """Cancel the runs whose status permits it; return their number."""
    rows = Run.objects.filter(pk__in=run_ids, status__in=CANCELLABLE)
    # the same order as the writer and the leases, to avoid deadlocks
    locked = rows.select_for_update().order_by("pk")
    runs = [run for run in locked if run.is_cancellable]
    running = [run.pk for run in runs if run.status == Status.RUNNING]
    idle = [run.pk for run in runs if run.status != Status.RUNNING]
    person = by.pk if by else None
    Run.objects.filter(pk__in=running).request_cancel(by_id=person, reason=reason)
    closing = [run for run in runs if run.pk in idle and undo_and_end.is_due(run)]
    for run in closing:  # their steps are undone first, by a worker
        _queue_closing(run, person, reason)
    ended = [pk for pk in idle if pk not in {run.pk for run in closing}]
    Run.objects.filter(pk__in=ended).cancel(by_id=person, reason=reason)
    event_delivery.withdraw(idle, "its run was cancelled")
    seal_rows.cancel_waiting(runs, reason)
    audit_events.record_each(
        audit_events.entry(
            run,
            "cancel",
            by=by,
            reason=reason,
            after=Status.CANCELLED if run.pk in ended else _status_until_end(run),
        )
        for run in runs
    )
    if closing:
        notifications.pending_on_commit()
    for run_id in running:
        notifications.cancel_on_commit(run_id)
    notifications.changed_on_commit(*(run.pk for run in runs))
    return len(runs)


def _queue_closing(run: Run, person: int | None, reason: str) -> None:
    end = undo_and_end.decided(run, Status.CANCELLED, message=reason, code="cancelled")
    undo_and_end.decide(
        Run.objects.filter(pk=run.pk),
        end,
        cancel_requested_at=timezone.now(),
        cancel_requested_by=person,
        cancel_reason=reason,
    )


def _status_until_end(run: Run) -> Status:
    """Return the status of a run whose cancel was requested, until it is cancelled."""
    return Status.RUNNING if run.status == Status.RUNNING else Status.PENDING
