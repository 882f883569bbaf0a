"""The nodes and edges of a diagram as SVG elements, each with its own id.

The SVG of equal nodes and edges is cached.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Final

from django.template.loader import render_to_string

from workflows.infra.page_cache import page_cache
from workflows.pages.graph.diagram import Diagram, Edge, Node
from workflows.pages.render.regions import strip_indentation

NODE_BYTES: Final = 500  # of the key: a node or an edge with its texts and numbers


def items_of(diagram: Diagram, *, still: bool = False) -> list[tuple[str, str]]:
    """Return the id and SVG of all lines, then all labels, then all nodes.

    `still` omits links.
    """
    edges, nodes = diagram.edges, diagram.nodes
    items = [(f"edge-{edge.number}", _element("edge", edge, still)) for edge in edges]
    items += [
        (f"label-{edge.number}", _element("label", edge, still))
        for edge in edges
        if edge.label or edge.count
    ]
    items += [(f"node-{node.number}", _element("node", node, still)) for node in nodes]
    return items


def _element(part: str, what: Edge | Node, still: bool) -> str:
    return page_cache.get_or_make(
        ("graph element", part, what, still),
        partial(_render, part, what, still),
        lambda html: sys.getsizeof(html) + NODE_BYTES,
    )


def _render(part: str, what: Edge | Node, still: bool) -> str:
    template = f"workflows/_graph_{part}.html"
    return strip_indentation(render_to_string(template, {"what": what, "still": still}))
