"""A run as it was after one of its steps: which rows were there already.

A step number comes again when the step is tried in a later attempt. So a moment also
has an attempt: the one that completed its step.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from django.db.models import Model, Q, QuerySet

if TYPE_CHECKING:
    from workflows.models import Run

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Moment:
    """After step `at` of a run; all of it when `at` is None."""

    at: int | None = None
    attempt: int | None = None  # None: whichever
    time: dt.datetime | None = None
    node: str = ""  # whose step it was

    @property
    def is_now(self) -> bool:
        """Tell whether nothing is left out."""
        return self.at is None

    def rows(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Return the rows with `attempt` and `sequence` that were there."""
        if self.at is None:
            return rows
        there = Q(sequence__lte=self.at)
        if self.attempt is not None:
            there &= Q(attempt__lte=self.attempt)
        return rows.filter(there)


def moment_of(run: Run, at: int | None) -> Moment:
    """Return a moment of a run; a step that it has not made yet is now."""
    if at is None or at > run.sequence:
        return Moment()
    rows = run.checkpoints.filter(sequence=at)
    found = rows.values_list("attempt", "created_at", "node_name").first()
    return Moment(at, *found) if found else Moment(at)
