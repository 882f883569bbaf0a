"""Questions about failed steps in a drawing: they are shown once a run has asked one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

ASK: Final = "ask"  # the kind of a node that asks a person about a failed step


def without_unasked(
    graph: Mapping[str, Any], reached: Collection[str]
) -> Mapping[str, Any]:
    """Return a graph without the questions that were not reached.

    Each would add an edge to every node that follows. The nodes that can fail so have `asks`.
    """
    questions = {
        node["name"] for node in graph.get("nodes") or () if node.get("kind") == ASK
    }
    if not questions:
        return graph
    hidden = questions.difference(reached)
    asking = {
        edge["source"]
        for edge in graph.get("edges") or ()
        if edge["target"] in questions and edge["source"] not in questions
    }
    return {
        **graph,
        "nodes": [
            {**node, "asks": node["name"] in asking}
            for node in graph["nodes"]
            if node["name"] not in hidden
        ],
        "edges": [
            edge
            for edge in graph.get("edges") or ()
            if not hidden & {edge["source"], edge["target"]}
        ],
        # a run ends at a question only where the step is skipped
        "exits": [name for name in graph.get("exits") or () if name not in questions],
    }
