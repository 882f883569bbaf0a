"""Examples of golden runs."""

from __future__ import annotations

from typing import Any, Final

from workflows.api.example_values import RUN, T2, WORKFLOW

_field: dict[str, Any] = {"field": "confidence", "tolerance": 0.05}
_golden: dict[str, Any] = {
    "run": RUN,
    "workflow": WORKFLOW,
    "dataset": "contracts",
    "checks_path": True,
    "fields": [_field],
    "reason": "A typical contract.",
    "marked_by": "ada",
    "created_at": T2,
}
REVIEW_SCHEMAS: Final[dict[str, Any]] = {
    "GoldenFieldIn": _field,
    "GoldenFieldOut": _field,
    "GoldenRunIn": {
        "dataset": "contracts",
        "checks_path": True,
        "fields": [_field],
        "reason": "A typical contract.",
    },
    "GoldenRunOut": _golden,
    "GoldenRunPage": {"items": [_golden], "next": None},
}
