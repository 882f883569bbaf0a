"""The stage in progress, which is part of the run's row until it ends.

A stage is written once, as a row of `Stage`, when it ends or pauses. Until then
`Run.current_stage` has its fields; its attempt and its status, `started`, follow from the
run. A reader of the stages of a run that may be running has to add this one:
`with_current` does.

There may be a row of the stage in progress, too: that of the pause which it continues, and
that of a stage which an older release began. The run's row is then the newer one.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Protocol, TypeVar

from workflows.models.history import Stage
from workflows.models.status import StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflows.models.runs import Run

ACTIVE_STATUSES = frozenset({StageStatus.STARTED, StageStatus.WAITING})


class StageLike(Protocol):
    """A stage with all of its fields, or with some."""

    @property
    def place(self) -> tuple[int, int]:
        """Attempt and sequence."""

    @property
    def status(self) -> str:
        """A StageStatus."""


Row = TypeVar("Row", bound=StageLike)


def stored_stage(run: Run) -> Stage | None:
    """Return the stage that the row of a run has as in progress, without a key.

    Raises KeyError, TypeError or ValueError if it was changed to something else.
    """
    if run.current_stage is None:
        return None
    fields = {**run.current_stage}
    progress = fields.pop("progress", None) or {}
    stage = Stage(
        run=run,
        attempt=run.attempt,
        node_name=fields.pop("node"),
        status=StageStatus.STARTED,
        created_at=dt.datetime.fromisoformat(fields.pop("created_at")),
        **fields,
    )
    stage.progress_done, stage.progress_of = progress.get("done"), progress.get("of")
    stage.progress_text = progress.get("text", "")
    return stage


def current_stage(run: Run) -> Stage | None:
    """Return the stage in progress of a running run, without a key."""
    return stored_stage(run) if run.status == Status.RUNNING else None


def running_stage(run: Run) -> Stage | None:
    """Return the stage in progress, also if an older release began it, as a row."""
    started = Stage.objects.filter(run=run, status=StageStatus.STARTED)
    return current_stage(run) or started.last()


def with_current(run: Run, rows: Iterable[Stage]) -> list[Stage]:
    """Return rows of stages of a run and the stage in progress, which is last."""
    return add_current(rows, current_stage(run))


def add_current(rows: Iterable[Row], current: Row | None) -> list[Row]:
    """Return rows and the stage in progress, which is last and replaces the row of its pause.

    The rows may have been read after the run: if they show that the stage has ended, it is
    left out.
    """
    stages = list(rows)
    if current is None:
        return stages
    for stage in stages:
        is_over = stage.place == current.place and stage.status not in ACTIVE_STATUSES
        if is_over or stage.place > current.place:
            return stages
    return [*(stage for stage in stages if stage.place != current.place), current]
