"""The nodes and edges of a diagram as SVG elements, each with its own id.

The SVG of equal nodes and edges is cached.
"""

from __future__ import annotations

from functools import lru_cache

from django.template.loader import render_to_string

from workflows.pages.graph.diagram import Diagram, Edge, Node
from workflows.pages.render.regions import strip_indentation

CACHED_ELEMENTS = 4_096


def items_of(diagram: Diagram, *, still: bool = False) -> list[tuple[str, str]]:
    """Return the id and SVG of all lines, then all labels, then all nodes.

    `still` omits links.
    """
    edges, nodes = diagram.edges, diagram.nodes
    items = [(f"edge-{edge.number}", _render("edge", edge, still)) for edge in edges]
    items += [
        (f"label-{edge.number}", _render("label", edge, still))
        for edge in edges
        if edge.label or edge.count
    ]
    items += [(f"node-{node.number}", _render("node", node, still)) for node in nodes]
    return items


@lru_cache(maxsize=CACHED_ELEMENTS)
def _render(part: str, what: Edge | Node, still: bool) -> str:
    template = f"workflows/_graph_{part}.html"
    return strip_indentation(render_to_string(template, {"what": what, "still": still}))
