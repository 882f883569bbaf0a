"""The state of each node and edge of a run's graph."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from django.db.models import Count, Max

from workflows.models import Stage, StageStatus
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw
from workflows.pages.run.durations import step_duration
from workflows.pages.run.stage_status import as_shown
from workflows.pages.run.view import RunView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Run
    from workflows.pages.run.durations import StepDuration
    from workflows.pages.run.point_in_time import PointInTime


def draw_run(
    run: Run,
    moment: PointInTime,
    durations: Mapping[int, StepDuration] = MappingProxyType({}),
) -> Diagram:
    """Return the graph of a run with the state of each node and edge, in three queries.

    `durations` has those of the timeline, by stage key.
    """
    return draw(run.graph, _nodes(run, moment, durations), _edges(run, moment))


def _nodes(
    run: Run, moment: PointInTime, durations: Mapping[int, StepDuration]
) -> dict[str, NodeState]:
    """Return the newest state of each node and the number of its steps."""
    executed = moment.rows(run.stages.order_by()).values("node_name")
    counted = executed.annotate(
        visits=Count("sequence", distinct=True), newest=Max("pk")
    ).values_list("node_name", "visits", "newest")
    visits = {name: (count, newest) for name, count, newest in counted}
    newest = Stage.objects.in_bulk([pk for _, pk in visits.values()])
    as_shown(run, newest.values())
    return {
        node["name"]: _node_state(node["name"], moment, newest, visits, durations)
        for node in run.graph.get("nodes") or ()
    }


def _node_state(
    name: str,
    moment: PointInTime,
    newest: Mapping[int, Stage],
    visits: Mapping[str, tuple[int, int]],
    durations: Mapping[int, StepDuration],
) -> NodeState:
    href = f"{RunView(at=moment.at, node=name).query}#run-panel"
    count, pk = visits.get(name, (0, 0))
    stage = newest.get(pk)
    if stage is None:
        return NodeState(href=href)
    duration = step_duration(stage, durations)
    full = f"{stage.get_status_display()} · {duration.text}" if duration else ""
    return NodeState(stage.status, _text(stage, duration), count, href, full)


def _text(stage: Stage, duration: StepDuration | None) -> str:
    """Return the status with progress or duration: `Completed · 1.2 s`, `Running · 3 of 8`."""
    if stage.waits_for_thread:
        return stage.status_text
    if stage.status == StageStatus.STARTED and stage.items_total:
        return f"Running · {stage.items_done or 0} of {stage.items_total}"
    if stage.status == StageStatus.COMPLETED and duration is not None:
        return f"Completed · {duration.active}"
    return stage.status_text


def _edges(run: Run, moment: PointInTime) -> dict[tuple[str, int], EdgeState]:
    """Return how many steps took or rejected each edge.

    An edge that was evaluated again after a resume counts once for its step.
    """
    groups = moment.rows(run.decisions.order_by())
    counted = groups.values("from_node", "edge_index", "taken").annotate(
        steps=Count("sequence", distinct=True)
    )
    steps = {
        (row["from_node"], row["edge_index"], row["taken"]): row["steps"]
        for row in counted
    }
    states = {}
    for edge in run.graph.get("edges") or ():
        source, index = edge["source"], edge.get("index") or 0
        view = RunView(at=moment.at, edge=(source, index))
        states[source, index] = EdgeState(
            taken=steps.get((source, index, True), 0),
            rejected=steps.get((source, index, False), 0),
            href=f"{view.query}#run-panel",
        )
    return states
