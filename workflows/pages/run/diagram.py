"""What happened to each step and link of a run's graph, for the drawing."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from django.db.models import Count, Max

from workflows.models import Stage, StageStatus
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw
from workflows.pages.run.durations import spent_of
from workflows.pages.run.stage_status import as_shown
from workflows.pages.run.view import RunView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Run
    from workflows.pages.run.durations import CallUsage
    from workflows.pages.run.point_in_time import Moment


def draw_run(
    run: Run, moment: Moment, spent: Mapping[int, CallUsage] = MappingProxyType({})
) -> Diagram:
    """Return a run's graph with the state of every step and link, in three queries.

    `spent` has the durations of its stages by their keys, as the timeline knows them.
    """
    return draw(run.graph, _nodes(run, moment, spent), _edges(run, moment))


def _nodes(
    run: Run, moment: Moment, spent: Mapping[int, CallUsage]
) -> dict[str, NodeState]:
    """Return the newest state of each step and how often the run came by."""
    visited = moment.rows(run.stages.order_by()).values("node_name")
    counted = visited.annotate(
        visits=Count("sequence", distinct=True), newest=Max("pk")
    ).values_list("node_name", "visits", "newest")
    visits = {name: (count, newest) for name, count, newest in counted}
    newest = Stage.objects.in_bulk([pk for _, pk in visits.values()])
    as_shown(run, newest.values())
    return {
        node["name"]: _node_state(node["name"], moment, newest, visits, spent)
        for node in run.graph.get("nodes") or ()
    }


def _node_state(
    name: str,
    moment: Moment,
    newest: Mapping[int, Stage],
    visits: Mapping[str, tuple[int, int]],
    spent: Mapping[int, CallUsage],
) -> NodeState:
    href = f"{RunView(at=moment.at, node=name).query}#run-panel"
    count, pk = visits.get(name, (0, 0))
    stage = newest.get(pk)
    if stage is None:
        return NodeState(href=href)
    took = spent_of(stage, spent)
    full = f"{stage.get_status_display()} · {took.words}" if took else ""
    return NodeState(stage.status, _in_words(stage, took), count, href, full)


def _in_words(stage: Stage, took: CallUsage | None) -> str:
    """Return how a step stands: `Completed · 1.2 s`, `Running · 3 of 8`."""
    if stage.waits_for_thread:
        return stage.status_text
    if stage.status == StageStatus.STARTED and stage.items_total:
        return f"Running · {stage.items_done or 0} of {stage.items_total}"
    if stage.status == StageStatus.COMPLETED and took is not None:
        return f"Completed · {took.active}"
    return stage.status_text


def _edges(run: Run, moment: Moment) -> dict[tuple[str, int], EdgeState]:
    """Return how often each link was taken and rejected.

    A link that was looked at again after a resume counts once for its step.
    """
    groups = moment.rows(run.decisions.order_by())
    counted = groups.values("from_node", "edge_index", "taken").annotate(
        times=Count("sequence", distinct=True)
    )
    times = {
        (row["from_node"], row["edge_index"], row["taken"]): row["times"]
        for row in counted
    }
    states = {}
    for edge in run.graph.get("edges") or ():
        source, place = edge["source"], edge.get("index") or 0
        view = RunView(at=moment.at, edge=(source, place))
        states[source, place] = EdgeState(
            taken=times.get((source, place, True), 0),
            rejected=times.get((source, place, False), 0),
            href=f"{view.query}#run-panel",
        )
    return states
