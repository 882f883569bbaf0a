"""A run as it was after one of its steps: the rows that existed then.

A later attempt repeats the number of a step that it runs again. So a point in time also
has an attempt: the one that completed its step.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from django.db.models import Model, Q, QuerySet

from workflows.models import StageKind, current_stage

if TYPE_CHECKING:
    from workflows.models import Run, Stage

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class PointInTime:
    """The time after step `at` of a run; the current state when `at` is None."""

    at: int | None = None
    attempt: int | None = None  # None: any
    time: dt.datetime | None = None
    node: str = ""  # of that step

    @property
    def is_now(self) -> bool:
        return self.at is None

    def current_stage(self, run: Run) -> Stage | None:
        """Return the stage that is in progress, None at an earlier point in time."""
        return current_stage(run) if self.is_now else None

    def rows(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Filter rows that have `attempt` and `sequence` to those that existed."""
        if self.at is None:
            return rows
        existed = Q(sequence__lte=self.at)
        if self.attempt is not None:
            existed &= Q(attempt__lte=self.attempt)
        return rows.filter(existed)


def moment_of(run: Run, at: int | None) -> PointInTime:
    """Return the time after a step; the current state for a step not yet completed."""
    if at is None or at > run.sequence:
        return PointInTime()
    rows = run.checkpoints.filter(sequence=at)
    found = rows.values_list("attempt", "created_at", "node_name").first()
    return PointInTime(at, *found) if found else _without_state(run, at)


def _without_state(run: Run, at: int) -> PointInTime:
    """Return the time after a step whose state retention has deleted."""
    if at == 0:
        return PointInTime(at, 1, run.started_at)
    of_step = run.stages.filter(sequence=at, kind=StageKind.NODE, duration_ms__gte=0)
    stage = of_step.order_by("-attempt").first()
    if stage is None:
        return PointInTime(at)
    ended = stage.created_at + dt.timedelta(milliseconds=stage.duration_ms or 0)
    return PointInTime(at, stage.attempt, ended, stage.node_name)
