"""Where a pending run stands in the queue, which is fair between workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count

from workflows.models import Run, Status

if TYPE_CHECKING:
    from django.db.models import QuerySet


def runs_before(run: Run) -> int:
    """Return how many pending runs would be claimed before this one, were none added.

    Those of a higher priority; then those of its own workflow that are older, and of each
    other workflow as many as have their turn earlier. Of two with the same turn the older
    goes first; here the others are taken to be younger.
    """
    pending = Run.objects.filter(status=Status.PENDING)
    alike = pending.filter(priority=run.priority)
    older = alike.filter(workflow_name=run.workflow_name, pk__lt=run.pk).count()
    under_way = _by_workflow(Run.objects.filter(status=Status.RUNNING))
    turn = under_way.get(run.workflow_name, 0) + older + 1
    before = pending.filter(priority__gt=run.priority).count() + older
    for name, waiting in _by_workflow(alike).items():
        if name != run.workflow_name:
            before += min(waiting, max(turn - under_way.get(name, 0) - 1, 0))
    return before


def _by_workflow(runs: QuerySet[Run]) -> dict[str, int]:
    counted = runs.order_by().values("workflow_name").annotate(number=Count("pk"))
    return {row["workflow_name"]: row["number"] for row in counted}
