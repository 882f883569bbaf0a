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
_accuracy: dict[str, Any] = {
    "name": "weigh → publish",
    "right": 18,
    "wrong": 2,
    "share": 0.9,
}
REVIEW_SCHEMAS: Final[dict[str, Any]] = {
    "AccuracyOut": _accuracy,
    "AssessmentIn": {"right": False, "note": "It is an offer.", "step": 3},
    "AssessmentOut": {
        "run": RUN,
        "step": 3,
        "from_node": "weigh",
        "to_node": "publish",
        "right": False,
        "note": "It is an offer.",
        "by": "ada",
        "at": T2,
    },
    "WorkflowAccuracyOut": {
        "runs": {**_accuracy, "name": ""},
        "edges": [_accuracy],
        "profiles": [{**_accuracy, "name": "quick"}],
        "months": [{**_accuracy, "name": "2026-11"}],
    },
    "Promotion": {"profile": "quick", "reason": "More accurate on all contracts."},
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
