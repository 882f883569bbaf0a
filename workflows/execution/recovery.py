"""What becomes of a run whose process was lost.

A worker executes many runs, and any of them may have ended its process. None is charged:
all are suspects, which workers execute in child processes (`suspects.py`). A suspect
whose child process ends is the culprit. It is charged, and fails at MAX_RECOVERIES.

When a child and the worker that started it are lost together, as when all processes of a
container are killed for its memory, any of the worker's runs may be the cause. Its suspects
are then executed alone, and one that is lost again is charged.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from workflows.audit import seal_rows
from workflows.execution import undo_and_end
from workflows.infra import notifications, outages, process_metrics
from workflows.models import (
    PROCESS_DIED,
    Attempt,
    Level,
    LogLine,
    Outcome,
    Run,
    Status,
    Suspicion,
    running_stage,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from workflows.engine.process_limits import ProcessEnd
    from workflows.models.status_transitions import RunQuerySet

logger = logging.getLogger(__name__)

ADVICE = (
    "Find the code of this node that ends the process: os._exit, a crash in native code, or its"
    " memory. `@node(isolate=True)` turns that into an error of the node. Then resume the run."
)


def recover_lost(
    now: dt.datetime, lost: Callable[[Iterable[Run]], Iterable[Run]]
) -> Iterable[UUID]:
    """Return the runs of lost workers to the queue, or end them; yield their ids.

    `lost` selects them from the runs whose lease has expired.
    """
    for run in lost(Run.objects.expired(now)):
        try:
            is_recovered = _recover(run, now)
        except Exception as error:
            if outages.is_temporary(error):
                raise
            # the others must not wait for it; it is tried again with the next sweep
            logger.exception("Run %s of a lost worker could not be recovered.", run.pk)
            continue
        if is_recovered:
            process_metrics.RECOVERIES.inc()
            yield run.pk


def _recover(run: Run, now: dt.datetime) -> bool:
    """Return a run to the queue, or end it; False if its lease was renewed meanwhile."""
    with transaction.atomic():
        same = Run.objects.expired(now).filter(
            pk=run.pk,
            attempt=run.attempt,
            lease_expires_at=run.lease_expires_at,
        )
        if not _settle_lost(run, same):
            return False
        message = f"Worker {run.worker} did not renew its lease in time."
        close_attempt(run, Outcome.LOST, message, "worker_lost")
    return True


def settle_child(claimed: Run, end: ProcessEnd) -> bool:
    """Charge a run whose child process ended without recording an end of the attempt.

    False if the attempt had an end, as it normally does.
    """
    run = refreshed(claimed)
    if run is None:
        return False
    node = _running_node(run)
    what = f"node “{node}”" if node else "the run before its first node"
    message = f"The process that executed {what} ended with {end.cause}"
    with transaction.atomic():
        same = same_attempt(run)
        times = run.recoveries + 1
        if is_cancel_due(run):
            moved = cancel(run, same)
        elif times >= settings.MAX_RECOVERIES:
            memory = f"; {end.memory}" if end.memory else ""
            moved = fail(
                run,
                same,
                message=f"{message} {_in_a_row(times)}{memory}. {ADVICE}",
                code="process_died",
                node=node,
            )
        else:
            moved = same.recover(_at_least_suspect(run), is_charged=True)
        if not moved:
            return False
        text = f"{message}; {end.memory}." if end.memory else f"{message}."
        _log(run, text)
        close_attempt(run, Outcome.LOST, text, PROCESS_DIED)
        notifications.changed_on_commit(run.pk)
    return True


def requeue_stopped(run: Run) -> bool:
    """Return a run to the queue whose child process was stopped by a drain."""
    with transaction.atomic():
        if not same_attempt(run).release():
            return False
        close_attempt(run, Outcome.RELEASED)
        notifications.changed_on_commit(run.pk)
    return True


def end_or_requeue(run: Run, runs: RunQuerySet) -> int:
    """Requeue a run that its worker could not continue, charged, or end it: one of `runs`."""
    if is_cancel_due(run):
        return cancel(run, runs)
    if run.recoveries + 1 < settings.MAX_RECOVERIES:
        return runs.recover(Suspicion(run.suspicion), is_charged=True)
    return fail(
        run,
        runs,
        message=f"The run lost its worker {_in_a_row(run.recoveries + 1)}, the last time"
        f" {run.worker}, without finishing a step. It was not tried again: check the"
        " worker's log and memory, then resume it.",
        code="worker_lost",
        node=_running_node(run),
    )


def refreshed(run: Run) -> Run | None:
    """Return the run as it is stored while its attempt has no end, None otherwise."""
    return same_attempt(run).defer("graph", "result").first()


def times_lost(run: Run) -> int:
    """Return how many attempts of the run were lost with their process."""
    return run.attempts.filter(outcome=Outcome.LOST).count()


def same_attempt(run: Run) -> RunQuerySet:
    """Return the row of a run while the worker that claimed it holds this attempt."""
    return Run.objects.filter(
        pk=run.pk, attempt=run.attempt, worker=run.worker, status=Status.RUNNING
    )


def is_cancel_due(run: Run) -> bool:
    """Return whether a run has to be cancelled; one whose end is decided ends so already."""
    return run.cancel_requested_at is not None and run.closing is None


def cancel(run: Run, runs: RunQuerySet) -> int:
    """End a run whose cancel was requested: one of `runs`."""
    details = {"message": run.cancel_reason, "code": "cancelled"}
    if undo_and_end.is_due(run):
        end = undo_and_end.decided(run, Status.CANCELLED, **details)
        return undo_and_end.decide(runs, end)
    return runs.finish(Status.CANCELLED, **details)


def fail(run: Run, runs: RunQuerySet, *, message: str, code: str, node: str) -> int:
    """Fail a running run from outside: one of `runs`. Its steps are undone first."""
    if run.closing is not None:
        return undo_and_end.finish(runs, run, message)
    if undo_and_end.is_due(run):
        details = {"message": message, "code": code, "node": node}
        end = undo_and_end.decided(run, Status.FAILED, **details)
        return undo_and_end.decide(runs, end)
    return runs.finish(Status.FAILED, message=message, code=code, node=node)


def close_attempt(
    run: Run, outcome: Outcome, message: str = "", code: str = ""
) -> None:
    """Record how the attempt in the row of a run ended, and close its open stages.

    Call it in the transaction that moves the run, after that. A stage whose row the database
    refuses is left out: the run must end or continue without it.
    """
    Attempt.objects.filter(run=run, number=run.attempt).update(
        ended_at=timezone.now(),
        outcome=outcome,
        error_message=message,
        error_code=code,
    )
    try:
        with transaction.atomic():
            seal_rows.interrupt(run.pk)
    except DatabaseError as error:
        if outages.is_temporary(error):
            raise
        logger.exception("The stage in progress of run %s was refused.", run.pk)
        Run.objects.filter(pk=run.pk).update(current_stage=None)


def _settle_lost(run: Run, runs: RunQuerySet) -> int:
    if is_cancel_due(run):
        return cancel(run, runs)
    if run.suspicion != Suspicion.ALONE:
        return runs.recover(Suspicion(run.suspicion + 1))
    if run.recoveries + 1 < settings.MAX_RECOVERIES:
        return runs.recover(Suspicion.ALONE, is_charged=True)
    return fail(
        run,
        runs,
        message=f"The run was executed in a separate process, and was lost together with"
        f" its worker {_in_a_row(run.recoveries + 1)}, the last time {run.worker}."
        " It was not tried again: check the worker's log and the memory of its machine"
        " or container, then resume the run.",
        code="worker_lost",
        node=_running_node(run),
    )


def _in_a_row(times: int) -> str:
    return f"{times} times in a row" if times > 1 else "once"


def _at_least_suspect(run: Run) -> Suspicion:
    return Suspicion(max(run.suspicion, Suspicion.SUSPECT))


def _running_node(run: Run) -> str:
    """Return the node that a run executes, as it is stored now; "" before the first."""
    stored = Run.objects.only("status", "attempt", "current_stage").get(pk=run.pk)
    stage = running_stage(stored)
    return stage.node_name if stage else ""


def _log(run: Run, message: str) -> None:
    """Add a line to the run's log, after those of the process that ended."""
    lines = LogLine.objects.filter(run=run, attempt=run.attempt)
    last = lines.order_by("-number").values_list("number", flat=True).first()
    LogLine.objects.create(
        run=run,
        attempt=run.attempt,
        number=(last or 0) + 1,
        sequence=run.sequence + 1,
        level=Level.ERROR,
        message=message,
    )
