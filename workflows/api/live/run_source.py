"""The events of one run, from any position in its history.

The rows of a run's history are ordered by natural keys, and a later write never inserts a
row before an earlier one: only the holder of the run writes them, in transactions that
update the run first. So a position names what a client has: a reconnect continues there,
in any process, without state on the server. A stage is sent when it has ended, because the
row of a pause changes until then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q

from workflows.api import representations
from workflows.api.live.frames import Event
from workflows.api.representations_waits import wait
from workflows.api.requests import visible_run_of
from workflows.api.schemas_live import RunEvent
from workflows.errors import InvalidCursor
from workflows.execution.approval_escalations import escalation_of
from workflows.models import Approval, EventWait, StageStatus, Status, current_stage
from workflows.models.current_stages import ACTIVE_STATUSES
from workflows.pages.lists.event_waits import can_wait_for_events
from workflows.pages.redaction import is_redacted, redact_rows
from workflows.pages.run.cancelled_stages import as_shown
from workflows.services.approval_assignments import assignment_of
from workflows.services.approval_claims import claim_of
from workflows.services.approvals import votes_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.api.live.viewers import Viewer
    from workflows.models import Decision, LogLine, Run, Stage

CHUNK: Final = 200  # rows of each kind in one event
FORM: Final = re.compile(
    r"(?P<version>\d{1,10})"
    r"-(?P<stage>\d{1,10}\.\d{1,10})"
    r"-(?P<decision>\d{1,10}\.\d{1,10}\.\d{1,10})"
    r"-(?P<line>\d{1,10}\.\d{1,10}\.[01])"
    r"-(?P<approval>\d{1,10}\.[0-9a-f]{8})"
    r"(?:-(?P<wait>\d{1,10}\.[0-9a-f]{8}))?",  # earlier releases had none
    re.ASCII,
)
MAX_NUMBER: Final = 2**31 - 1
NO_TAG: Final = "0" * 8


@dataclass(frozen=True, slots=True)
class Position:
    """What a client has of a run: everything up to these keys, as of a version."""

    version: int = -1
    stage: tuple[int, int] = (0, 0)  # attempt, sequence
    decision: tuple[int, int, int] = (0, 0, 0)  # attempt, sequence, index + 1
    # attempt, number, and whether it has the line 0 of that attempt, which is written
    # after others when the database was restored (`execution/rewinds.py`)
    line: tuple[int, int, int] = (0, 0, 0)
    approval: tuple[int, str] = (0, NO_TAG)  # sequence, and a digest of its status
    wait: tuple[int, str] = (0, NO_TAG)  # sequence, and a digest of all statuses there

    def __str__(self) -> str:
        """Return the id of the event that leads here; it begins with the version."""
        parts: tuple[tuple[object, ...], ...] = (
            (self.version,),
            self.stage,
            self.decision,
            self.line,
            self.approval,
            self.wait,
        )
        return "-".join(".".join(map(str, part)) for part in parts)

    @classmethod
    def read(cls, text: str) -> Position:
        """Return the position of an event's id, the start for "". Raises InvalidCursor."""
        if not text:
            return cls()
        found = FORM.fullmatch(text)
        if found is None:
            raise InvalidCursor
        # "." splits into two empty parts, for a key that is not there
        keys = {name: part.split(".") for name, part in found.groupdict(".").items()}
        approval, wait = keys.pop("approval"), keys.pop("wait")
        numbers = {name: [*map(int, part)] for name, part in keys.items()}
        places = int(approval[0]), int(wait[0] or 0)
        if max(*places, *chain(*numbers.values())) > MAX_NUMBER:
            raise InvalidCursor
        return cls(
            numbers["version"][0],
            (numbers["stage"][0], numbers["stage"][1]),
            (numbers["decision"][0], numbers["decision"][1], numbers["decision"][2]),
            (numbers["line"][0], numbers["line"][1], numbers["line"][2]),
            (places[0], approval[1]),
            (places[1], wait[1] or NO_TAG),
        )


class RunSource:
    """The events of a run for one viewer, from a position on."""

    kind = "run"
    pause_seconds = 0.2  # minimum interval between two events

    def __init__(self, run_id: UUID, viewer: Viewer, position: Position) -> None:
        self.topic = str(run_id)
        self._run_id, self._viewer, self.position = run_id, viewer, position
        self._complete: int | None = None  # the version of which everything was sent
        self._can_read: bool | None = None
        self._is_ended = False

    def read(self) -> Event | None:
        """Return the next event, None if there is nothing new. Raises RunNotFound."""
        run = visible_run_of(self._viewer.user, self._run_id)
        if self._can_read is None:
            self._can_read = not is_redacted(run)
        if self._complete == run.version:
            return None
        is_reset = self.position.version > run.version
        known = Position() if is_reset else self.position
        after, data = self._new_rows(run, known)
        is_new = after != known
        has_more = any(
            len(rows) == CHUNK
            for rows in (data["stages"], data["decisions"], data["log"])
        )
        self.position = after
        self._complete = None if has_more else run.version
        if not is_new:
            return None
        return Event("run", str(after), self._event(run, data, is_reset), has_more)

    def is_same_access(self) -> bool:
        """Return whether the viewer may still see the same parts. Raises RunNotFound."""
        run = visible_run_of(self._viewer.user, self._run_id)
        return self._can_read is not is_redacted(run)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, and everything was sent."""
        return self._complete is not None and self._is_ended

    def _new_rows(self, run: Run, known: Position) -> tuple[Position, dict[str, Any]]:
        """Return the position after the next rows, and the rows."""
        self._is_ended = run.is_ended
        stages, decisions = _stages(run, known), _decisions(run, known)
        lines = [] if is_redacted(run) else _lines(run, known)
        approvals = _approvals(run, known)
        waits = _waits(run, known)
        after = replace(
            known,
            version=run.version,
            stage=stages[-1].place if stages else known.stage,
            decision=_decision_key(decisions[-1]) if decisions else known.decision,
            line=_after_lines(lines, known),
            approval=_approval_key(approvals[-1]) if approvals else known.approval,
            wait=_waits_key(waits) if waits else known.wait,
        )
        rows = {
            "stages": [representations.stage(row) for row in redact_rows(run, stages)],
            "decisions": [
                representations.decision(row) for row in redact_rows(run, decisions)
            ],
            "log": [representations.log_line(row) for row in lines],
            "approvals": [
                representations.approval(row, self._viewer.user)
                for row in redact_rows(run, approvals)
            ],
            "waits": [wait(row) for row in waits],
        }
        return after, rows

    def _event(self, run: Run, rows: dict[str, Any], is_reset: bool) -> RunEvent:
        (summary,) = representations.run_summaries([run], self._viewer.user)
        stage = _in_progress(run)
        if stage is not None:
            (stage,) = redact_rows(run, [stage])
        return RunEvent(
            reset=is_reset,
            run=summary,
            hidden=is_redacted(run),
            in_progress=representations.stage(stage) if stage else None,
            **rows,
        )


def _stages(run: Run, known: Position) -> list[Stage]:
    attempt, sequence = known.stage
    rows = _after(run.stages.all(), attempt, sequence=sequence)
    if run.status != Status.CANCELLED:  # which leaves the row of a pause as it is
        rows = rows.exclude(status=StageStatus.WAITING)
    rows = rows.exclude(status=StageStatus.STARTED)
    if _is_in_order_later(run):
        rows = rows.exclude(
            branch__isnull=False, attempt=run.attempt, sequence__gt=run.sequence
        )
    return as_shown(run, rows.order_by("attempt", "sequence")[:CHUNK])


def _decisions(run: Run, known: Position) -> list[Decision]:
    attempt, sequence, following = known.decision
    same = Q(attempt=attempt, sequence=sequence, edge_index__gte=following)
    later = Q(attempt=attempt, sequence__gt=sequence) | Q(attempt__gt=attempt)
    rows = run.decisions.filter(same | later).select_related("decided_by")
    if _is_in_order_later(run):
        rows = rows.exclude(attempt=run.attempt, sequence__gt=run.sequence)
    return list(rows.order_by("attempt", "sequence", "edge_index")[:CHUNK])


def _is_in_order_later(run: Run) -> bool:
    """Return whether rows of branches may still follow before others of theirs.

    They are sent in the order of their numbers, once the join has ended.
    """
    return run.status == Status.RUNNING and run.closing is None


def _decision_key(row: Decision) -> tuple[int, int, int]:
    return row.attempt, row.sequence, row.edge_index + 1


def _lines(run: Run, known: Position) -> list[LogLine]:
    attempt, number, has_zero = known.line
    found = Q(attempt=attempt, number__gt=number) | Q(attempt__gt=attempt)
    if not has_zero:
        found |= Q(attempt=attempt, number=0)
    return list(run.log_lines.filter(found).order_by("attempt", "number")[:CHUNK])


def _after_lines(rows: Sequence[LogLine], known: Position) -> tuple[int, int, int]:
    attempt, number, has_zero = known.line
    for row in rows:
        if row.attempt != attempt:
            attempt, number, has_zero = row.attempt, 0, 0
        number = max(number, row.number)
        has_zero = has_zero or int(row.number == 0)
    return attempt, number, has_zero


def _approvals(run: Run, known: Position) -> list[Approval]:
    """Return the approvals that are new or have changed: only the last one changes."""
    sequence, tag = known.approval
    rows = Approval.objects.filter(run=run, sequence__gte=sequence)
    found = rows.select_related(
        "run", "responded_by", "claim", "assignment", "escalation"
    ).prefetch_related("votes")
    found = found.order_by("sequence")
    return [row for row in found if _approval_key(row) != (sequence, tag)]


def _approval_key(row: Approval) -> tuple[int, str]:
    count = len(votes_of(row))
    votes = f" {count}" if count else ""
    claim = claim_of(row)
    assignment = assignment_of(row)
    work = f" {claim.person_name}" if claim else ""
    work += f" → {assignment.name}" if assignment else ""
    escalation = escalation_of(row)
    work += f" ↑ {escalation.escalated_at}" if escalation else ""
    return row.sequence, sha256(
        f"{row.status} {row.responded_at}{votes}{work}".encode()
    ).hexdigest()[:8]


def _waits(run: Run, known: Position) -> list[EventWait]:
    """Return the waits that are new or have changed, with all of their step.

    Only those of the last step change. They are sent together, so that one digest names
    what a client has of them.
    """
    if not can_wait_for_events(run):
        return []
    sequence, tag = known.wait
    rows = EventWait.objects.filter(run=run, sequence__gte=sequence)
    ordered = rows.select_related("message").order_by("sequence", "position")
    waits = list(ordered)
    same = [row for row in waits if row.sequence == sequence]
    if same and _waits_key(same) == (sequence, tag):
        waits = [row for row in waits if row.sequence > sequence]
    redact_rows(run, [row.message for row in waits if row.message])
    return redact_rows(run, waits)


def _waits_key(rows: Sequence[EventWait]) -> tuple[int, str]:
    """Return the last step of these waits, and a digest of what can change in them."""
    last = [row for row in rows if row.sequence == rows[-1].sequence]
    text = " ".join(f"{row.status} {row.created_at} {row.closed_at}" for row in last)
    return last[0].sequence, sha256(text.encode()).hexdigest()[:8]


def _after(rows: QuerySet[Any], attempt: int, **key: int) -> QuerySet[Any]:
    ((name, value),) = key.items()
    same = Q(attempt=attempt, **{f"{name}__gt": value})
    return rows.filter(same | Q(attempt__gt=attempt))


def _in_progress(run: Run) -> Stage | None:
    """Return the step that is executed or waits, from the run's row or as a row."""
    if run.is_ended:
        return None
    active = run.stages.filter(status__in=ACTIVE_STATUSES)
    return current_stage(run) or active.order_by("attempt", "sequence").last()
