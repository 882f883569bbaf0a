"""The nodes of a graph that run after the end of a run: they are listed below the drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.models import StageKind
from workflows.pages.render.text import readable_name

if TYPE_CHECKING:
    from workflows.models import Stage


@dataclass(frozen=True, slots=True)
class ClosingNode:
    """A node that undoes steps, or runs at the end, with its newest stage in a run."""

    title: str
    doc: str
    stage: Stage | None = None


def closing_nodes(
    graph: Mapping[str, Any], stages: Iterable[Stage] = ()
) -> list[ClosingNode]:
    """Return the nodes in the order of the declaration; `stages` are those of a run, by age."""
    newest = {(stage.kind, stage.node_name): stage for stage in stages}
    nodes = [
        ClosingNode(
            f"{readable_name(one['name'])} undoes {readable_name(one['of'])}",
            one.get("doc") or "",
            newest.get((StageKind.UNDO, one["name"])),
        )
        for one in graph.get("undo") or ()
    ]
    if end := graph.get("on_end"):
        title = f"{readable_name(end['name'])} runs at the end of each run"
        stage = newest.get((StageKind.ON_END, end["name"]))
        nodes.append(ClosingNode(title, end.get("doc") or "", stage))
    return nodes
