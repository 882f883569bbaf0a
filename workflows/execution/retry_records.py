"""Failed tries that are followed by another, as rows and as log lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Max

from workflows.audit.step_records import RetryRow
from workflows.infra import clock
from workflows.infra.text import clean
from workflows.models import AuditEvent, Retry

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from workflows.models import Run


@dataclass(frozen=True, slots=True)
class Tries:
    """The failed tries of steps in earlier attempts, and the waits until the next."""

    made: Mapping[int, tuple[int, float]] = field(default_factory=dict)  # by sequence

    def of(self, sequence: int) -> tuple[int, float]:
        """Return the number of failed tries of a step, and the seconds until the next."""
        return self.made.get(sequence, (0, 0.0))


NO_TRIES: Final = Tries()


def tries_of(run: Run, *, after: int = 0) -> Tries:
    """Return the tries of the next step, from attempts that did not finish it.

    Those are the tries of its branches as well, each for its own step. A resume resets the
    count: the person who resumes wants all tries again. Attempts up to `after` are those of
    the run that was forked.
    """
    rows = Retry.objects.filter(
        run=run,
        sequence__gt=run.sequence,
        attempt__gt=after,
        attempt__lt=run.attempt,
    )
    newest = {row.sequence: row for row in rows.order_by("attempt", "number")}
    if not newest:
        return NO_TRIES
    resumes = AuditEvent.objects.filter(run=run.pk, action="resume")
    resumed_at = resumes.aggregate(last=Max("created_at"))["last"]
    now = clock.local_now()
    return Tries(
        {
            sequence: (row.number, _seconds_left(row, now))
            for sequence, row in newest.items()
            if resumed_at is None or resumed_at < row.created_at
        }
    )


def _seconds_left(row: Retry, now: dt.datetime) -> float:
    spent = (now - row.created_at).total_seconds()
    return min(max(row.wait_seconds - spent, 0.0), row.wait_seconds)


def retry_of(data: Mapping[str, Any], sequence: int) -> RetryRow:
    """Return the row of a `node.retry` event."""
    return RetryRow(
        sequence=sequence,
        number=data["try"],
        wait_seconds=data["wait_seconds"],
        error=clean(data["error"]),
        created_at=clock.local_now(),
    )


def retry_message(data: Mapping[str, Any]) -> str:
    """Return the log line of a `node.retry` event."""
    error = str(data["error"]).rstrip(".")  # many messages are sentences
    return (
        f"Try {data['try']} of {data['of']} of {data['node']} failed:"
        f" {error}. Next try in {data['wait_seconds']:.1f} s."
    )
