"""What happened to each step and link of a run's graph, for the drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count, Max

from workflows.models import Stage, StageStatus
from workflows.pages.diagram import Diagram, EdgeState, NodeState, draw
from workflows.pages.words import span

if TYPE_CHECKING:
    from workflows.models import Run

MILLISECONDS = 1000


def draw_run(run: Run) -> Diagram:
    """Return a run's graph with the state of every step and link, in three queries."""
    return draw(run.graph, _nodes(run), _edges(run))


def _nodes(run: Run) -> dict[str, NodeState]:
    """Return the newest state of each step and how often the run came by."""
    visited = run.stages.order_by().values("node_name")
    counted = visited.annotate(
        visits=Count("sequence", distinct=True), newest=Max("pk")
    ).values_list("node_name", "visits", "newest")
    visits = {name: (count, newest) for name, count, newest in counted}
    newest = Stage.objects.in_bulk([pk for _, pk in visits.values()])
    return {
        name: _node_state(newest[pk], count)
        for name, (count, pk) in visits.items()
        if pk in newest
    }


def _node_state(stage: Stage, visits: int) -> NodeState:
    return NodeState(
        state=stage.status,
        text=_in_words(stage),
        visits=visits,
        href=f"#stage-{stage.pk}",
    )


def _in_words(stage: Stage) -> str:
    """Return how a step stands: `Completed · 1.2 s`, `Running · 3 of 8`."""
    if stage.status == StageStatus.STARTED and stage.items_total:
        return f"Running · {stage.items_done or 0} of {stage.items_total}"
    if stage.status == StageStatus.COMPLETED and stage.duration_ms is not None:
        return f"Completed · {span(stage.duration_ms / MILLISECONDS)}"
    return stage.get_status_display()


def _edges(run: Run) -> dict[tuple[str, int], EdgeState]:
    """Return how often each link was taken and rejected.

    A link that was looked at again after a resume counts once for its step.
    """
    groups = run.decisions.order_by().values("from_node", "edge_index", "taken")
    counted = groups.annotate(times=Count("sequence", distinct=True), newest=Max("pk"))
    found: dict[tuple[str, int], dict[str, int]] = {}
    hrefs: dict[tuple[str, int], int] = {}
    for row in counted:
        key = (row["from_node"], row["edge_index"])
        found.setdefault(key, {})["taken" if row["taken"] else "rejected"] = row[
            "times"
        ]
        hrefs[key] = max(hrefs.get(key, 0), row["newest"])
    return {
        key: EdgeState(**counts, href=f"#decision-{hrefs[key]}")
        for key, counts in found.items()
    }
