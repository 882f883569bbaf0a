"""The times in which no worker executed a run: queued, waiting, or ended.

They are not stored. They are derived from the start and outcome of attempts and from the
events in between: response, end of a child run, cancellation, resume.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.models import Outcome

if TYPE_CHECKING:
    from workflows.models import Approval, Attempt, AuditEvent, EventWait, Run

QUEUE, APPROVAL, CHILD, TIMER = "queue", "approval", "child", "timer"
EVENT = "event"  # or a callback
FIRST = "first"  # of several
STOPPED = "stopped"  # ended, and resumed later


@dataclass(frozen=True, slots=True)
class Gap:
    """An idle time of one kind; `end` is None while it lasts."""

    kind: str
    start: dt.datetime
    end: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Events:
    """Rows that end an attempt of a run or start the next one."""

    attempts: Sequence[Attempt]
    approvals: Sequence[Approval]
    children: Sequence[Run]
    audit_events: Sequence[AuditEvent]
    waits: Sequence[EventWait] = ()

    def first(
        self, action: str, start: dt.datetime, end: dt.datetime | None
    ) -> dt.datetime | None:
        """Return the first time of an action within a span."""
        return _first((event.created_at for event in self.audit_events
                       if event.action_name == action), start, end)  # fmt: skip


def gaps_of(run: Run, events: Events) -> Iterator[Gap]:
    """Yield the idle times before, between and after the attempts of a run, in order."""
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
    """Return the kind of a wait and its end, None while it lasts."""
    messages = [one for one in events.waits if _is_near(one.created_at, start)]
    if len(messages) > 1:
        return FIRST, messages[0].closed_at or end
    return _wait_for_one(start, end, events, messages)


def _wait_for_one(
    start: dt.datetime,
    end: dt.datetime | None,
    events: Events,
    messages: Sequence[EventWait],
) -> tuple[str, dt.datetime | None]:
    requested = [one for one in events.approvals if _is_near(one.created_at, start)]
    pending = [one for one in events.approvals if one.responded_at is None]
    responses = (one.responded_at for one in events.approvals)
    over = _first(responses, start, end)
    if over is not None or requested or (end is None and pending):
        return APPROVAL, over or end
    if messages:
        return EVENT, messages[0].closed_at or end
    started = [one for one in events.children if _is_near(one.created_at, start)]
    if started:
        return CHILD, _end_of_children(started[0].parent_sequence, start, end, events)
    ended = _first((one.completed_at for one in events.children), start, end)
    return (CHILD, ended) if ended is not None else (TIMER, end)


def _end_of_children(
    sequence: int | None, start: dt.datetime, end: dt.datetime | None, events: Events
) -> dt.datetime | None:
    """Return when the last child run of a step ended within a wait, None while one lasts."""
    children = [one for one in events.children if one.parent_sequence == sequence]
    if end is None and any(one.completed_at is None for one in children):
        return None
    ends = [one.completed_at for one in children if one.completed_at is not None]
    within = [one for one in ends if start <= one and (end is None or one <= end)]
    return max(within, default=end)


def _is_near(moment: dt.datetime, other: dt.datetime) -> bool:
    """Return whether two times are of one transaction."""
    return abs((moment - other).total_seconds()) < 1


def _first(
    moments: Iterator[dt.datetime | None], start: dt.datetime, end: dt.datetime | None
) -> dt.datetime | None:
    within = [
        one for one in moments if one and start <= one and (end is None or one <= end)
    ]
    return min(within, default=None)
