"""The stages of a run as light rows, for loop folding, steps and timeline."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from workflows.models import StageStatus, add_current, with_current
from workflows.pages.lists.pagination import Page, forward_page
from workflows.pages.run.cancelled_stages import (
    CancelledAttempts,
    cancelled_attempts,
    shown_status,
)

if TYPE_CHECKING:
    from workflows.models import Run, Stage
    from workflows.pages.run.rows_at_step import PointInTime

MAX_STAGES = 5_000  # newest stages that are read
FIELDS = (  # of Stage, in the order of Row
    "pk",
    "attempt",
    "sequence",
    "node_name",
    "status",
    "tries",
    "created_at",
    "duration_ms",
    "waits_for_thread",
    "branch",
)


class Row(NamedTuple):
    """A stage without its texts."""

    pk: int | None  # None: in progress
    attempt: int
    sequence: int
    node: str
    status: str
    tries: int
    began: dt.datetime
    duration_ms: float | None
    waits_for_thread: bool = False
    branch: str | None = None  # of which it is a step

    @property
    def place(self) -> tuple[int, int]:
        """Return attempt and sequence: they identify a stage within its run."""
        return self.attempt, self.sequence

    @property
    def is_plain(self) -> bool:
        """Return whether it completed at the first try."""
        return self.status == StageStatus.COMPLETED and self.tries == 1

    @property
    def is_without_thread(self) -> bool:
        """Return whether it waits for a thread now."""
        return self.waits_for_thread and self.status == StageStatus.STARTED

    @property
    def is_paused(self) -> bool:
        """Return whether it waits, or waited until the run was cancelled."""
        return self.status == StageStatus.WAITING or (
            self.status == StageStatus.CANCELLED and self.duration_ms is None
        )

    @property
    def is_failed_or_interrupted(self) -> bool:
        """Return whether it failed or was interrupted."""
        return self.status in {StageStatus.FAILED, StageStatus.INTERRUPTED}


def rows_of(run: Run, moment: PointInTime) -> list[Row]:
    """Return the newest stages at a point in time, oldest first."""
    newest = moment.rows(run.stages.order_by("-attempt", "-sequence"))
    rows = [Row(*fields) for fields in newest.values_list(*FIELDS)[:MAX_STAGES]][::-1]
    current = moment.current_stage(run)
    if current is not None:
        rows = add_current(rows, Row(*(getattr(current, name) for name in FIELDS)))
    cancelled = cancelled_attempts(run, {row.status for row in rows})
    return [_as_shown(run, row, cancelled) for row in rows]


def page_of(run: Run, *, after: int, size: int) -> Page[Stage]:
    """Return a page of the stages with a sequence above `after`, oldest first."""
    page = forward_page(run.stages.all(), after=after, size=size, key="sequence")
    if page.after is not None or run.sequence < after:
        return page
    page.rows = with_current(run, page.rows)
    if len(page.rows) > size:
        del page.rows[size:]
        page.after = page.rows[-1].sequence
    return page


def _as_shown(run: Run, row: Row, cancelled: CancelledAttempts) -> Row:
    status = shown_status(run, row.status, row.place, cancelled)
    if status == row.status:
        return row
    # the duration of a stage that waited ends with the pause, not the cancellation
    waited = row.status == StageStatus.WAITING
    return row._replace(status=status, duration_ms=None if waited else row.duration_ms)
