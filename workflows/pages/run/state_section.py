"""The state of a run at the point in time that its page shows.

The state of a run in progress changes with every step: the page links to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Sum

from workflows.engine.errors import CheckpointMismatch
from workflows.models import Checkpoint, Status
from workflows.pages.redaction import is_redacted
from workflows.system import system

if TYPE_CHECKING:
    from workflows.models import Run
    from workflows.pages.run.rows_at_step import PointInTime

MAX_BYTES = 500_000  # of checkpoints that are replayed


@dataclass(frozen=True, slots=True)
class StateSection:
    """The state after a step; `is_shown` is false where the page only links to it."""

    step: int
    value: Any = None
    is_shown: bool = False
    has_page: bool = False  # the state was stored
    problem: str = ""  # why it can't be read


def state_section(run: Run, moment: PointInTime) -> StateSection:
    """Return the state after the step of a point in time, now that after the last step."""
    step = run.sequence if moment.at is None else moment.at
    if is_redacted(run) or run.payload_removed_at is not None:
        return StateSection(step)
    has_page = (run.started_at if moment.is_now else moment.time) is not None
    if moment.is_now and run.status == Status.COMPLETED:
        return StateSection(step, run.result, is_shown=True, has_page=has_page)
    is_live = moment.is_now and not run.is_ended
    if is_live or not has_page or _replayed_bytes(run, step) > MAX_BYTES:
        return StateSection(step, has_page=has_page)
    return _stored(run, step)


def _stored(run: Run, step: int) -> StateSection:
    try:
        _, after, _ = system.get_states(run.pk, step)
    except CheckpointMismatch as error:
        return StateSection(step, problem=str(error))
    if after is None:
        return StateSection(step)
    return StateSection(step, after, is_shown=True, has_page=True)


def _replayed_bytes(run: Run, step: int) -> int:
    """Return the bytes of the checkpoints that are replayed for the state after a step."""
    rows = run.checkpoints.filter(sequence__lte=step)
    keyframes = rows.filter(kind=Checkpoint.Kind.FULL).order_by("-sequence")
    first = keyframes.values_list("sequence", flat=True).first() or 0
    return rows.filter(sequence__gte=first).aggregate(bytes=Sum("bytes"))["bytes"] or 0
