"""The queue is the runs table: enqueue, claim, renew, recover and wake.

A run is claimed by a conditional UPDATE, so that two workers never hold the same run.
Messages only trigger a check, so that a lost message loses nothing.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery
from django.utils import timezone

from workflows.audit import seal_rows
from workflows.execution import (
    approval_sweep,
    event_delivery,
    recovery,
    run_cancellation,
    sql,
)
from workflows.infra import clock, notifications
from workflows.models import (
    ENDED,
    ChildGroup,
    Run,
    Status,
    Suspicion,
    WaitKind,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from workflows.models import AuditEvent

FENCE_BITS: Final = 62  # of 63: records add to it


def enqueue(run: Run, event: AuditEvent) -> bool:
    """Insert a pending run and the audit event of its launch.

    False if its idempotency key is that of an earlier run; nothing is written then.
    """
    seal(run, event)
    return bool(insert([sql.NewRun(run, event)]))


def seal(run: Run, event: AuditEvent) -> None:
    """Begin the chains of a run that is about to be inserted with this event."""
    seal_rows.begin(run)
    seal_rows.seal_first(run, event)


def insert(
    launches: Sequence[sql.NewRun], offer: sql.Offer | None = None
) -> dict[UUID, str]:
    """Insert sealed runs together; return the status of each that was inserted.

    They are running, claimed by the worker that offers slots, unless more runs are pending
    than it has slots left.
    """
    inserted = sql.driver().insert_runs(launches, offer)
    for launch in launches:
        launch.run._state.adding = launch.run.pk not in inserted  # noqa: SLF001 - as `save` would
    return inserted


def new_fence() -> int:
    """Return the number with which the fence of a claim starts."""
    return secrets.randbits(FENCE_BITS)


def claim(
    worker: str,
    limit: int,
    suspicion: Suspicion = Suspicion.NONE,
    *,
    admitted: Sequence[UUID] = (),
    now: dt.datetime | None = None,
) -> sql.Claimed:
    """Claim up to `limit` pending runs for this worker, and open an attempt of each.

    By priority, then fair between workflows, then by age. One conditional update: fewer
    runs are returned if another worker was faster. Suspects are claimed separately. The
    fence starts at random: a database that was put back to an older copy hands out the
    same attempts again. Of runs with limits, only those in `admitted` are claimed
    (`limited_claims.py`).
    """
    fence = new_fence()
    now = now or timezone.now()
    claimed = sql.driver().claim_pending(worker, limit, now, fence, suspicion, admitted)
    claimed.runs.sort(key=lambda run: (-run.priority, run.pk))
    return claimed


def renew(
    worker: str, fences: Mapping[UUID, int]
) -> dict[UUID, tuple[int, str | None]]:
    """Extend the leases of the runs held; return attempt and cancel reason of each.

    `fences` has `Run.fence` as the last committed record of each run left it. A run that
    is missing from the result is no longer this worker's, or not where the worker left
    it. The reason is None unless a cancel was requested.
    """
    rows = sql.driver().renew_leases(worker, fences)
    return {pk: (attempt, reason if at else None) for pk, attempt, at, reason in rows}


def sweep(
    lost: Callable[[Iterable[Run]], Iterable[Run]] = lambda expired: expired,
) -> list[UUID]:
    """Recover and wake runs that no message announced; return the runs that changed.

    1. Runs whose worker was lost go back to the queue, or are ended. `lost` selects them
       from the runs whose lease has expired.
    2. Runs whose wait is over are woken: a time that has come, an approval that expired,
       a child run whose end was missed, a message that was not delivered.
    """
    now = clock.now()
    changed = [
        *recovery.recover_lost(now, lost),
        *_wake_due(now),
        *_wake_overdue(now),
        *_wake_parents(),
        *event_delivery.deliver_missed(),
    ]
    for run_id in changed:
        notifications.changed_on_commit(run_id)
    for run_id in approval_sweep.sweep():  # last: an error in it delays no run
        notifications.changed_on_commit(run_id)
        changed.append(run_id)
    return changed


def wake_due() -> tuple[int, float | None]:
    """Wake the runs that are due; return their number, and the seconds until the next is.

    None when no run waits for a time. The time is the database's.
    """
    woken = 0
    now = clock.now()
    for run_id in [*_wake_due(now), *_wake_overdue(now)]:
        woken += 1
        notifications.changed_on_commit(run_id)
        notifications.pending_on_commit()
    due = [time for time in map(_next_time, ("wake_at", "deadline_at")) if time]
    return woken, (min(due) - clock.now()).total_seconds() if due else None


def _next_time(column: str) -> dt.datetime | None:
    """Return the first time in a column of the runs that wait."""
    waiting = Run.objects.filter(status=Status.WAITING, **{f"{column}__isnull": False})
    return waiting.order_by(column).values_list(column, flat=True).first()


def _wake_due(now: dt.datetime) -> Iterable[UUID]:
    due = Run.objects.filter(status=Status.WAITING, wake_at__lte=now)
    for run_id in due.values_list("pk", flat=True):
        with transaction.atomic():
            # the run first, as everywhere: a cancel locks it before its approval
            if not Run.objects.filter(pk=run_id, wake_at__lte=now).wake():
                # an answer came first; a claim that found the run locked has skipped it
                notifications.pending_on_commit()
                continue
            event_delivery.expire(run_id, now)
        yield run_id


def _wake_overdue(now: dt.datetime) -> Iterable[UUID]:
    """Wake the runs whose deadline has passed, which fail: nothing is awaited any more."""
    overdue = Run.objects.filter(status=Status.WAITING, deadline_at__lte=now)
    for run_id in overdue.values_list("pk", flat=True):
        with transaction.atomic():
            if not Run.objects.filter(pk=run_id, deadline_at__lte=now).wake():
                continue
            event_delivery.withdraw([run_id], "the deadline of its run has passed")
        run_cancellation.cancel_below(
            run_id, "The deadline of the parent run has passed."
        )
        yield run_id


def _wake_parents() -> Iterable[UUID]:
    """Wake parents whose child ended, in case `wake_parent` was not reached."""
    child = Run.objects.filter(
        parent=OuterRef("pk"), parent_sequence=OuterRef("sequence") + 1
    ).order_by("-id")
    waiting = Run.objects.filter(
        status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW
    ).annotate(child_status=Subquery(child.values("status")[:1]))
    waiting = waiting.exclude(_has_group())
    for run_id in waiting.filter(child_status__in=ENDED).values_list("pk", flat=True):
        if Run.objects.filter(pk=run_id, waiting_for=WaitKind.SUBWORKFLOW).wake():
            yield run_id


def _has_group() -> Exists:
    """Return whether a run waits for several children: `child_groups.py` wakes it."""
    return Exists(
        ChildGroup.objects.filter(
            parent=OuterRef("pk"), sequence=OuterRef("sequence") + 1
        )
    )


def wake_parent(child_id: UUID) -> None:
    """Wake the run that waits for this child run, if the child has ended."""
    parent = Run.objects.exclude(_has_group()).filter(
        children__in=Run.objects.filter(
            pk=child_id,
            status__in=ENDED,
            parent_sequence__isnull=False,  # else another run continues or replaces it
        ),
        status=Status.WAITING,
        waiting_for=WaitKind.SUBWORKFLOW,
    )
    parent_id = parent.values_list("pk", flat=True).first()
    if parent_id and Run.objects.filter(pk=parent_id).wake():
        notifications.changed_on_commit(parent_id)
        notifications.pending_on_commit()
