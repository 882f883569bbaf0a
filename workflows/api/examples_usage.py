"""Examples of the usage of agents."""

from __future__ import annotations

from typing import Any, Final

_totals: dict[str, Any] = {
    "calls": 12,
    "tokens_in": 21_960,
    "tokens_out": 1_152,
    "cost": "0.015048000",
    "duration_ms": 11_282.4,
    "estimated": 0,
    "unpriced": 0,
}
_group: dict[str, Any] = {**_totals, "key": "ada"}
USAGE_SCHEMAS: Final[dict[str, Any]] = {
    "UsageTotal": _totals,
    "UsageGroup": _group,
    "UsageOut": {
        "by": "person",
        "groups": [_group],
        "total": _totals,
        "truncated": False,
    },
}
