"""The steps and links of a drawn graph as SVG, each with an id of its own.

A node or link that looks the same as before is not drawn again.
"""

from __future__ import annotations

from functools import lru_cache

from django.template.loader import render_to_string

from workflows.pages.graph.diagram import Diagram, Edge, Node
from workflows.pages.render.regions import tight

KEPT = 4_096  # drawn nodes and links


def items_of(diagram: Diagram, *, still: bool = False) -> list[tuple[str, str]]:
    """Return the id and SVG of all lines, then all labels, then all nodes.

    `still` leaves out what could be clicked.
    """
    edges, nodes = diagram.edges, diagram.nodes
    items = [(f"edge-{edge.number}", _drawn("edge", edge, still)) for edge in edges]
    items += [
        (f"label-{edge.number}", _drawn("label", edge, still))
        for edge in edges
        if edge.label or edge.count
    ]
    items += [(f"node-{node.number}", _drawn("node", node, still)) for node in nodes]
    return items


@lru_cache(maxsize=KEPT)
def _drawn(part: str, what: Edge | Node, still: bool) -> str:
    template = f"workflows/_graph_{part}.html"
    return tight(render_to_string(template, {"what": what, "still": still}))
