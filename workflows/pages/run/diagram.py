"""The state of each node and edge of a run's graph."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from django.db.models import Count, Max

from workflows.models import EventWaitStatus, Stage, StageStatus, add_current
from workflows.pages.graph.branches import (
    all_edges,
    all_nodes,
    first_nodes,
    parts_of_choices,
)
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw
from workflows.pages.run.cancelled_stages import as_shown
from workflows.pages.run.durations import step_duration
from workflows.pages.run.view_options import RunView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from workflows.models import EventWait, Run
    from workflows.pages.run.durations import Place, StepDuration
    from workflows.pages.run.rows_at_step import PointInTime


PART_STATES: Final = {
    EventWaitStatus.OPEN: (StageStatus.WAITING, "Waiting"),
    EventWaitStatus.RECEIVED: (StageStatus.COMPLETED, "Came first"),
    EventWaitStatus.EXPIRED: (StageStatus.COMPLETED, "Came first"),
    EventWaitStatus.WITHDRAWN: (StageStatus.CANCELLED, "Withdrawn"),
}


def draw_run(
    run: Run,
    moment: PointInTime,
    durations: Mapping[Place, StepDuration] = MappingProxyType({}),
    overruled: Set[tuple[str, int]] = frozenset(),
) -> Diagram:
    """Return the graph of a run with the state of each node and edge, in three queries.

    `durations` has those of the timeline, by place; `overruled` the edges that a person overrode.
    """
    nodes = _nodes(run, moment, durations) | _parts(run, moment)
    edges = _edges(run, moment)
    for edge in overruled & edges.keys():
        edges[edge] = replace(
            edges[edge],
            taken=edges[edge].taken - 1,
            rejected=edges[edge].rejected + 1,
        )
    for source, index, first in first_nodes(run.graph):
        edges[source, index] = EdgeState(taken=nodes[first].step_count)
    return draw(run.graph, nodes, edges)


def _nodes(
    run: Run, moment: PointInTime, durations: Mapping[Place, StepDuration]
) -> dict[str, NodeState]:
    """Return the newest state of each node and the number of its steps."""
    executed = moment.rows(run.stages.order_by()).values("node_name")
    counted = executed.annotate(
        step_count=Count("sequence", distinct=True),
        newest=Max("pk"),
        last=Max("sequence"),
    )
    nodes = {row["node_name"]: row for row in counted}
    stages = Stage.objects.in_bulk([row["newest"] for row in nodes.values()])
    newest = {stage.node_name: stage for stage in stages.values()}
    step_count = {name: row["step_count"] for name, row in nodes.items()}
    current = moment.current_stage(run)
    if current is not None:
        name = current.node_name
        earlier = [newest[name]] if name in newest else []
        newest[name] = add_current(earlier, current)[-1]
        is_again = name in nodes and nodes[name]["last"] >= current.sequence
        step_count[name] = step_count.get(name, 0) + (not is_again)
    as_shown(run, newest.values())
    return {
        node["name"]: _node_state(
            node["name"], moment, newest.get(node["name"]), step_count, durations
        )
        for node in all_nodes(run.graph)
    }


def _parts(run: Run, moment: PointInTime) -> dict[str, NodeState]:
    """Return the state of each node of which another one waits for the first.

    They are no steps: their states are those of their waits.
    """
    names = parts_of_choices(run.graph)
    if not names:
        return {}
    rows = run.event_waits.filter(node_name__in=names).order_by("sequence")
    if moment.at is not None:
        rows = rows.filter(sequence__lte=moment.at)
    found: dict[str, list[EventWait]] = {}
    for wait in rows:
        found.setdefault(wait.node_name, []).append(wait)
    return {
        name: _part_state(RunView(at=moment.at, node=name), found.get(name, []))
        for name in names
    }


def _part_state(view: RunView, waits: Sequence[EventWait]) -> NodeState:
    href = f"{view.query}#run-panel"
    if not waits:
        return NodeState(href=href)
    state, text = PART_STATES[EventWaitStatus(waits[-1].status)]
    return NodeState(state, text, len(waits), href)


def _node_state(
    name: str,
    moment: PointInTime,
    stage: Stage | None,
    step_count: Mapping[str, int],
    durations: Mapping[Place, StepDuration],
) -> NodeState:
    href = f"{RunView(at=moment.at, node=name).query}#run-panel"
    if stage is None:
        return NodeState(href=href)
    duration = step_duration(stage, durations)
    full = f"{stage.get_status_display()} · {duration.text}" if duration else ""
    return NodeState(stage.status, _text(stage, duration), step_count[name], href, full)


def _text(stage: Stage, duration: StepDuration | None) -> str:
    """Return the status with progress or duration: `Completed · 1.2 s`, `Running · 3 of 8`."""
    if stage.waits_for_thread:
        return stage.status_text
    if stage.status == StageStatus.STARTED and (amount := stage.amount_done):
        return f"Running · {amount}"
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
    for edge in all_edges(run.graph):
        source, index = edge["source"], edge.get("index") or 0
        view = RunView(at=moment.at, edge=(source, index))
        states[source, index] = EdgeState(
            taken=steps.get((source, index, True), 0),
            rejected=steps.get((source, index, False), 0),
            href=f"{view.query}#run-panel",
        )
    return states
