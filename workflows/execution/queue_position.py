"""The position of a pending run in the queue, which is fair between workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count, Q

from workflows.models import Run, Status, WorkflowPause
from workflows.models.pauses import CONTINUES

if TYPE_CHECKING:
    from django.db.models import QuerySet


def runs_before(run: Run) -> int:
    """Return how many pending runs will be claimed before this one if none is added.

    Those of a higher priority; then the older ones of its own workflow, and of each other
    workflow as many as have an earlier slot. Of two runs with the same slot the older is
    claimed first; here the others are assumed to be younger. Suspects have separate
    positions, and are counted among themselves. Runs of a paused workflow that have not started
    are not counted.
    """
    paused = WorkflowPause.objects.values("workflow_name")
    pending = Run.objects.filter(
        CONTINUES | ~Q(workflow_name__in=paused),
        status=Status.PENDING,
        suspicion=run.suspicion,
    )
    same_priority = pending.filter(priority=run.priority)
    older = same_priority.filter(workflow_name=run.workflow_name, pk__lt=run.pk).count()
    running = _by_workflow(Run.objects.filter(status=Status.RUNNING))
    slot = running.get(run.workflow_name, 0) + older + 1
    before = pending.filter(priority__gt=run.priority).count() + older
    for name, waiting in _by_workflow(same_priority).items():
        if name != run.workflow_name:
            before += min(waiting, max(slot - running.get(name, 0) - 1, 0))
    return before


def _by_workflow(runs: QuerySet[Run]) -> dict[str, int]:
    counts = runs.order_by().values("workflow_name").annotate(number=Count("pk"))
    return {row["workflow_name"]: row["number"] for row in counts}
