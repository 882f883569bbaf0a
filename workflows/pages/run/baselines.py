"""The usual duration of each step of a workflow: the median over its newest runs."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING
from uuid import UUID

from workflows.models import Run, Stage, StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RUNS = 20  # newest completed runs that are read
MAX_SCANNED_RUNS = 200  # newest runs among which these are searched
MAX_STAGES = 5_000
MIN_DURATIONS = 3  # of a step, below which it has no median


def usual_ms(run: Run) -> Mapping[str, float]:
    """Return the median milliseconds of each step of the run's workflow, by node.

    One query for the newest completed runs; the medians of the same runs are cached.
    """
    newest = Run.objects.filter(workflow_name=run.workflow_name).order_by("-pk")
    newest = newest.exclude(pk=run.pk)
    rows = newest.values_list("pk", "status")[:MAX_SCANNED_RUNS]
    completed = [pk for pk, status in rows if status == Status.COMPLETED]
    return _medians(tuple(completed[:MAX_RUNS])) if completed else {}


@lru_cache(maxsize=256)
def _medians(runs: tuple[UUID, ...]) -> Mapping[str, float]:
    stages = Stage.objects.filter(
        run__in=runs, status=StageStatus.COMPLETED, inherited_from=None
    )
    durations: dict[str, list[float]] = defaultdict(list)
    rows = stages.order_by().values_list("node_name", "duration_ms")[:MAX_STAGES]
    for name, duration in rows:
        if duration is not None:
            durations[name].append(duration)
    return {
        name: median(ms) for name, ms in durations.items() if len(ms) >= MIN_DURATIONS
    }
