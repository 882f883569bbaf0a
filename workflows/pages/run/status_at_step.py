"""The status of a run at a point in time, for the header of its page.

The header of an earlier point in time never shows the final status, result or error next
to steps that had not happened yet.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.models import Status

if TYPE_CHECKING:
    from workflows.models import Run
    from workflows.pages.run.rows_at_step import PointInTime


@dataclass(frozen=True, slots=True)
class StatusAt:
    """The status, elapsed time and attempt of a run at a point in time."""

    status: Status
    elapsed: dt.timedelta | None  # None before the start, or if the time is unknown
    attempt: int

    @property
    def is_ended(self) -> bool:
        return self.status in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def status_at(run: Run, moment: PointInTime) -> StatusAt:
    """Return the status of a run.

    After any step but the last it is Running: a wait, failure or cancellation belongs to
    the following step. After the last step of a completed run it is Completed. A run that
    has not started has its current status only.
    """
    if moment.is_now or run.started_at is None:
        return StatusAt(Status(run.status), run.elapsed, run.attempt)
    is_end = run.status == Status.COMPLETED and moment.at == run.sequence
    if is_end:
        return StatusAt(Status.COMPLETED, run.elapsed, run.attempt)
    elapsed = None
    if moment.time is not None and run.started_at is not None:
        elapsed = max(moment.time - run.started_at, dt.timedelta())
    return StatusAt(Status.RUNNING, elapsed, moment.attempt or run.attempt)
