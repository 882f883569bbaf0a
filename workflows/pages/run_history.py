"""A run's stages as light rows: what the graph's story, steps and timeline are made of."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from workflows.models import StageStatus

if TYPE_CHECKING:
    from workflows.models import Run
    from workflows.pages.run_moment import Moment

MOST = 5_000  # newest stages that are looked at


class Row(NamedTuple):
    """What is known of a stage without its texts."""

    pk: int
    attempt: int
    sequence: int
    node: str
    status: str
    tries: int
    began: dt.datetime
    duration_ms: float | None
    waits_for_thread: bool = False

    @property
    def is_plain(self) -> bool:
        """Tell whether it went as it should, at the first try."""
        return self.status == StageStatus.COMPLETED and self.tries == 1

    @property
    def is_without_thread(self) -> bool:
        """Tell whether it waits for a thread now."""
        return self.waits_for_thread and self.status == StageStatus.STARTED

    @property
    def went_wrong(self) -> bool:
        """Tell whether it failed or was cut short."""
        return self.status in {StageStatus.FAILED, StageStatus.INTERRUPTED}


def rows_of(run: Run, moment: Moment) -> list[Row]:
    """Return the newest stages that were there at a moment, oldest first."""
    newest = moment.rows(run.stages.order_by("-attempt", "-sequence"))
    found = newest.values_list(
        "pk",
        "attempt",
        "sequence",
        "node_name",
        "status",
        "tries",
        "created_at",
        "duration_ms",
        "waits_for_thread",
    )[:MOST]
    return [Row(*values) for values in found][::-1]
