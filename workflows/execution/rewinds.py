"""A database that was put back to an older copy under a live worker.

A restore, or the promotion of a replica that lags, takes back records that a worker knows
to be committed. The fence stops the worker's next write, or its heartbeat does, and the
worker drops the run. This module gives up the lease that the older copy shows, so that any
worker continues from what the database has.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from workflows.execution import recovery
from workflows.infra import notifications, process_metrics
from workflows.models import Level, LogLine, Outcome, Run, Status

if TYPE_CHECKING:
    from typing import Final

logger = logging.getLogger(__name__)

FIRST_LINE: Final = 0  # number of the log line: before those of the attempt, from 1
ERROR_CODE: Final = "database_went_back"


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a run as its worker knows it."""

    sequence: int  # steps completed
    fence: int  # `Run.fence` after the last record known to be committed
    last_fence: int  # the same after the last record, which may be committed or not


def leave(run: Run, position: Position, *, is_held_again: bool = False) -> bool:
    """Handle a run whose record or renewal the fence refused; return if it was a rewind.

    False means that another worker took over or the run has ended, which is no fault.
    Otherwise the row is behind what this attempt knows to be committed. The lease is given
    up unless another attempt in this process holds it (`is_held_again`), the chain of the
    history is continued from the stored head, and the log of the process and of the run
    show what happened. The run is not charged with a recovery.
    """
    with transaction.atomic():
        stored = Run.objects.select_for_update().filter(pk=run.pk).first()
        if stored is None:
            logger.warning(
                "Run %s does not exist any more: it was deleted, or the database went back"
                " to before its launch. Launch it again if it is needed.",
                run.pk,
            )
            process_metrics.REWINDS.inc()
            return True
        if not _is_behind(stored, run, position):
            return False
        text = _text(position, stored)
        attempt = stored.attempt + 1  # that continues the run
        is_running = stored.status == Status.RUNNING
        if is_running and stored.worker == run.worker and not is_held_again:
            _give_up(stored, run.version, text)
        else:
            attempt -= is_running
            version = Greatest(F("version"), run.version) + 1
            Run.objects.filter(pk=run.pk).update(version=version)
        _add_line(stored, attempt, text)
    process_metrics.REWINDS.inc()
    logger.warning("Run %s: %s", run.pk, text)
    return True


def _is_behind(stored: Run, run: Run, position: Position) -> bool:
    """Return whether the row lacks what this attempt has committed."""
    if stored.sequence < position.sequence or stored.attempt < run.attempt:
        return True
    is_known = position.fence <= stored.fence <= position.last_fence
    return stored.attempt == run.attempt and not is_known


def _text(position: Position, stored: Run) -> str:
    if stored.sequence < position.sequence:
        back = f"from step {position.sequence} to step {stored.sequence}"
        again = "the steps in between run again"
    else:
        back = f"to an older copy during step {position.sequence + 1}"
        again = "the step runs again"
    if stored.status not in (Status.PENDING, Status.RUNNING):
        again = f"the run is {stored.get_status_display().lower()} there"
    return f"The database went back {back}; {again}."


def _give_up(stored: Run, known_version: int, text: str) -> None:
    """Queue the run again, and close the attempt that the row shows."""
    Run.objects.filter(pk=stored.pk).requeue_rewound(after_version=known_version)
    recovery.close_attempt(stored, Outcome.RELEASED, text, ERROR_CODE)
    notifications.pending_on_commit()


def _add_line(stored: Run, attempt: int, text: str) -> None:
    LogLine.objects.bulk_create(
        [
            LogLine(
                run_id=stored.pk,
                attempt=attempt,
                number=FIRST_LINE,
                sequence=stored.sequence,
                level=Level.WARNING,
                message=text,
                created_at=timezone.now(),
            )
        ],
        ignore_conflicts=True,
    )
    notifications.changed_on_commit(stored.pk)
