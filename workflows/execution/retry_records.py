"""Failed tries that are followed by another, as rows and as log lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workflows.audit.step_records import RetryRow
from workflows.infra import clock
from workflows.infra.text import clean
from workflows.models import AuditEvent, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Run


@dataclass(frozen=True, slots=True)
class Tries:
    """The failed tries of a step in earlier attempts, and the wait until the next."""

    sequence: int = 0
    made: int = 0
    wait_seconds: float = 0.0

    def of(self, sequence: int) -> tuple[int, float]:
        """Return the number of failed tries of a step, and the seconds until the next."""
        if sequence != self.sequence:
            return 0, 0.0
        return self.made, self.wait_seconds


NO_TRIES: Final = Tries()


def tries_of(run: Run) -> Tries:
    """Return the tries of the next step, from attempts that did not finish it.

    A resume resets the count: the person who resumes wants all tries again.
    """
    sequence = run.sequence + 1
    rows = Retry.objects.filter(
        run=run, sequence=sequence, attempt__lt=run.attempt
    ).order_by("-attempt", "-number")
    last = rows.first()
    if last is None:
        return NO_TRIES
    resumes = AuditEvent.objects.filter(
        run=run.pk, action="resume", created_at__gte=last.created_at
    )
    if resumes.exists():
        return NO_TRIES
    spent = (clock.local_now() - last.created_at).total_seconds()
    left = min(max(last.wait_seconds - spent, 0.0), last.wait_seconds)
    return Tries(sequence, last.number, left)


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
    return (
        f"Try {data['try']} of {data['of']} of {data['node']} failed:"
        f" {data['error']}. Next try in {data['wait_seconds']:.1f} s."
    )
