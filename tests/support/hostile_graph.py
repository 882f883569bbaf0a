"""A stored graph and a form whose names and texts come from an attacker."""

from __future__ import annotations

from typing import Any


def hostile_graph(payload: str) -> dict[str, Any]:
    """Return a graph whose names and texts are all hostile."""
    node, other, last = payload[:200], f"{payload[:180]} too", f"{payload[:180]} paid"
    said = {"doc": payload, "effects": payload}
    return {
        "entry": node,
        "exits": [last],
        "nodes": [
            {"name": node, "kind": "parallel", **said},
            {"name": other, "kind": "approval", **said},
            {"name": last, "kind": "event", **said},
        ],
        "edges": [
            {"source": node, "target": other, "index": 0, "predicate": payload},
            {"source": node, "target": node, "index": 1, "predicate": payload},
            {"source": other, "target": last, "index": 0, "predicate": ""},
        ],
    }


def hostile_form(payload: str) -> dict[str, Any]:
    """Return the schema of a response whose texts are all hostile."""
    said = {"type": "string", "title": payload, "description": payload}
    return {
        "type": "object",
        "title": payload,
        "description": payload,
        "properties": {
            "outcome": {"enum": [payload, "b"], **said},
            "text": {**said, "default": payload},
        },
        "required": ["outcome"],
    }
