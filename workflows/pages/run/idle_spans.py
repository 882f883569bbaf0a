"""The times in which no worker had a run: it queued, it waited, or it had ended.

Nothing of this is recorded on its own. It follows from when attempts began and how they
ended, and from what happened in between: an answer, a child's end, a cancel, a resume.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.models import Outcome

if TYPE_CHECKING:
    from workflows.models import Approval, Attempt, AuditEvent, Run

QUEUE, PERSON, CHILD, MOMENT = "queue", "person", "child", "moment"
STOPPED = "stopped"  # it had ended, and was resumed later


@dataclass(frozen=True, slots=True)
class Gap:
    """A span in which a run stood still, of one kind; `end` is None while it lasts."""

    kind: str
    start: dt.datetime
    end: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Events:
    """What moves a run between its attempts."""

    attempts: Sequence[Attempt]
    approvals: Sequence[Approval]
    children: Sequence[Run]
    audit_events: Sequence[AuditEvent]

    def first(
        self, action: str, start: dt.datetime, end: dt.datetime | None
    ) -> dt.datetime | None:
        """Return when somebody did this within a span, first."""
        return _first((one.created_at for one in self.audit_events
                       if one.action == action), start, end)  # fmt: skip


def gaps_of(run: Run, events: Events) -> Iterator[Gap]:
    """Yield the spans before, between and after the attempts of a run, in order."""
    first = events.attempts[0].started_at if events.attempts else None
    if first is None:
        yield Gap(QUEUE, run.created_at, run.completed_at)
        return
    yield Gap(QUEUE, run.created_at, first)
    for place, attempt in enumerate(events.attempts):
        following = events.attempts[place + 1 : place + 2]
        end = following[0].started_at if following else run.completed_at
        if attempt.ended_at is not None:
            yield from _after(attempt, attempt.ended_at, end, events)


def _after(
    attempt: Attempt, start: dt.datetime, end: dt.datetime | None, events: Events
) -> Iterator[Gap]:
    if attempt.outcome in {Outcome.LOST, Outcome.RELEASED}:
        yield Gap(QUEUE, start, end)
        return
    if attempt.outcome == Outcome.WAITING:
        kind, over = _wait(start, end, events)
        stopped = events.first("cancel", start, end)
        if stopped is None:
            yield Gap(kind, start, over)
            if over is not None and over != end:
                yield Gap(QUEUE, over, end)
            return
        yield Gap(kind, start, min(over or stopped, stopped))
        start = stopped
    resumed = events.first("resume", start, end)
    yield Gap(STOPPED, start, resumed or end)
    if resumed is not None:
        yield Gap(QUEUE, resumed, end)


def _wait(
    start: dt.datetime, end: dt.datetime | None, events: Events
) -> tuple[str, dt.datetime | None]:
    """Return what was waited for, and until when: None while it lasts."""
    asked = [one for one in events.approvals if _is_near(one.created_at, start)]
    again = [one for one in events.approvals if one.answered_at is None]
    answers = (one.answered_at for one in events.approvals)
    over = _first(answers, start, end)
    if over is not None or asked or (end is None and again):
        return PERSON, over or end
    begun = [one for one in events.children if _is_near(one.created_at, start)]
    ended = _first((one.completed_at for one in events.children), start, end)
    if begun or ended is not None:
        return CHILD, ended or end
    return MOMENT, end


def _is_near(moment: dt.datetime, other: dt.datetime) -> bool:
    """Tell whether two moments are of one transaction."""
    return abs((moment - other).total_seconds()) < 1


def _first(
    moments: Iterator[dt.datetime | None], start: dt.datetime, end: dt.datetime | None
) -> dt.datetime | None:
    within = [
        one for one in moments if one and start <= one and (end is None or one <= end)
    ]
    return min(within, default=None)
