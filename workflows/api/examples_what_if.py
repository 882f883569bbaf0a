"""Examples of what-if reports."""

from __future__ import annotations

from typing import Any, Final

from workflows.api.example_values import RUN

_edge: dict[str, Any] = {
    "node": "weigh",
    "recorded": "review",
    "today": "publish",
    "runs": 1,
}
_run: dict[str, Any] = {
    "run": RUN,
    "sequence": 4,
    "node": "weigh",
    "recorded": "review",
    "today": "publish",
    "reason": "confidence 75%, threshold 70%",
    "url": f"/runs/{RUN}/?at=4",
}
WHAT_IF_SCHEMAS: Final[dict[str, Any]] = {
    "ThresholdOut": {"name": "threshold", "value": "0.8", "is_param": True},
    "ElsewhereOut": _edge,
    "WhatIfRunOut": _run,
    "WhatIfPart": {
        "runs": 412,
        "runs_elsewhere": 1,
        "runs_failed": 0,
        "decisions": 430,
        "unconditional": 1203,
        "edges": [_edge],
        "not_evaluated": {"a person chose the edge (override)": 2},
        "items": [_run],
        "next": None,
    },
}
