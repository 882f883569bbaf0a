"""Where a run stood at a moment: what the head of its page says.

While somebody looks at an earlier moment, the head tells of that moment too. Its status,
result and error are never those of the end beside steps that had not happened yet.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.models import Status

if TYPE_CHECKING:
    from workflows.models import Run
    from workflows.pages.run.point_in_time import Moment


@dataclass(frozen=True, slots=True)
class Standing:
    """The status of a run at a moment, and how long it had been executing by then."""

    status: Status
    elapsed: dt.timedelta | None  # None before its start, or where no moment is known
    attempt: int

    @property
    def is_ended(self) -> bool:
        """Tell whether it had ended."""
        return self.status in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def standing_of(run: Run, moment: Moment) -> Standing:
    """Return where a run stood.

    After a step that was not the last one it ran: a wait, a failure or a cancel belongs to
    the step that followed. The last step of a completed run is its end.
    """
    if moment.is_now:
        return Standing(Status(run.status), run.elapsed, run.attempt)
    is_end = run.status == Status.COMPLETED and moment.at == run.sequence
    if is_end:
        return Standing(Status.COMPLETED, run.elapsed, run.attempt)
    elapsed = None
    if moment.time is not None and run.started_at is not None:
        elapsed = max(moment.time - run.started_at, dt.timedelta())
    return Standing(Status.RUNNING, elapsed, moment.attempt or run.attempt)
