"""A stored graph whose names and texts come from an attacker."""

from __future__ import annotations

from typing import Any


def hostile_graph(payload: str) -> dict[str, Any]:
    """Return a graph whose names and texts are all hostile."""
    node, other, last = payload[:200], f"{payload[:180]} too", f"{payload[:180]} paid"
    return {
        "entry": node,
        "exits": [last],
        "nodes": [
            {"name": node, "kind": "parallel", "doc": payload},
            {"name": other, "kind": "approval", "doc": payload},
            {"name": last, "kind": "event", "doc": payload},
        ],
        "edges": [
            {"source": node, "target": other, "index": 0, "predicate": payload},
            {"source": node, "target": node, "index": 1, "predicate": payload},
            {"source": other, "target": last, "index": 0, "predicate": ""},
        ],
    }
