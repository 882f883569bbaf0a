"""The live regions of a run page, in parts that many viewers share.

    frame       depends on all permissions of the viewer, at a point in time: status, notice,
                approval, details, and the number of open approvals
    navigation  that number alone, where it depends on the viewer
    point       graph, timeline and steps at a point in time, with what may be done at each step
    panel       the selected node or edge
    log         the lines of a filter

Each part is rendered once for a version of the run, for all its viewers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.pages.access import RunPermissions
from workflows.pages.render.regions import render_regions
from workflows.pages.run.view_options import RunView

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.pages.run.page import RunPage

TEMPLATE = "runs/detail.html"
FRAME = (
    "run-title",
    "run-status",
    "run-actions",
    "run-notice",
    "run-approval",
    "run-error",
    "run-result",
    "run-files",
    "run-children",
    "run-state",
    "run-notes",
    "run-details",
    "nav-approvals",
)
NAVIGATION = ("nav-approvals",)
FRAME_ALONE = FRAME[:-1]  # where the number of open approvals depends on the viewer
POINT_IN_TIME = (
    "run-stepper",
    "run-graph",
    "run-timeline",
    "run-totals",
    "run-path",
    "run-items",
    "run-times",
    "run-status-text",
)
PANEL = ("run-panel",)
LOG = ("run-log",)


@dataclass(frozen=True, slots=True)
class Part:
    """Some regions of a run page, with all that they depend on except the run itself."""

    run_id: UUID
    regions: tuple[str, ...]
    view: RunView
    permissions: RunPermissions


def parts_of(
    run_id: UUID, permissions: RunPermissions, view: RunView
) -> Iterator[Part]:
    """Yield the parts of the page; parts with the same HTML are equal."""
    shared = permissions.for_timeline
    if permissions.inbox_of is None and not permissions.snoozed:
        yield Part(run_id, FRAME, RunView(at=view.at), permissions)
    else:
        yield Part(run_id, FRAME_ALONE, RunView(at=view.at), permissions.for_frame)
        yield Part(run_id, NAVIGATION, RunView(), permissions.for_navigation)
    yield Part(run_id, POINT_IN_TIME, RunView(at=view.at, scale=view.scale), shared)
    selected = RunView(at=view.at, node=view.node, edge=view.edge)
    yield Part(run_id, PANEL, selected, shared)
    filtered = RunView(at=view.at, level=view.level, find=view.find)
    yield Part(run_id, LOG, filtered, permissions.for_log)


def render_part(page: RunPage, names: tuple[str, ...]) -> dict[str, str]:
    """Return these regions as HTML for an out-of-band swap."""
    context = {"page": page, "run": page.run}
    if "nav-approvals" in names:
        context["waiting"] = page.waiting
    items = {}
    if "run-path" in names:
        items["run-path"] = (page.step_items, "run-steps", "")
        items["run-timeline"] = (page.lane_items, "run-lanes", "")
        items["run-graph"] = (page.graph_items, "", "svg")
    if "run-log" in names:
        items["run-log"] = (page.log.items, "run-log-lines", "")
    return render_regions(TEMPLATE, names, context, items)


def render_all_regions(page: RunPage) -> dict[str, str]:
    """Return all live regions as HTML for an out-of-band swap."""
    return render_part(page, (*FRAME, *POINT_IN_TIME, *PANEL, *LOG))
