"""How long each step of a workflow usually takes: the median over its newest runs."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING
from uuid import UUID

from workflows.models import Run, Stage, StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNS = 20  # newest completed ones that are looked at
SCANNED_RUNS = 200  # newest runs among which these are sought
MAX_STAGES = 5_000
MIN_RUNS = 3  # visits of a step, below which nothing is usual


def usual_ms(run: Run) -> Mapping[str, float]:
    """Return the usual milliseconds of each step of the run's workflow, by node.

    One query for the newest completed runs; their stages are read once for them.
    """
    newest = Run.objects.filter(workflow_name=run.workflow_name).order_by("-pk")
    newest = newest.exclude(pk=run.pk)
    rows = newest.values_list("pk", "status")[:SCANNED_RUNS]
    completed = [pk for pk, status in rows if status == Status.COMPLETED]
    return _medians(tuple(completed[:RUNS])) if completed else {}


@lru_cache(maxsize=256)
def _medians(runs: tuple[UUID, ...]) -> Mapping[str, float]:
    stages = Stage.objects.filter(run__in=runs, status=StageStatus.COMPLETED)
    took: dict[str, list[float]] = defaultdict(list)
    found = stages.order_by().values_list("node_name", "duration_ms")[:MAX_STAGES]
    for name, duration in found:
        if duration is not None:
            took[name].append(duration)
    return {name: median(ms) for name, ms in took.items() if len(ms) >= MIN_RUNS}
