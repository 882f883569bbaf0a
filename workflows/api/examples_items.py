"""Examples of the items of parallel steps."""

from __future__ import annotations

from typing import Any, Final

_failed: dict[str, Any] = {
    "index": 3,
    "status": "failed",
    "tries": 2,
    "duration_ms": 1500.0,
    "error_type": "ConnectionError",
    "error": "no answer",
    "value": "page 4",
    "result": None,
    "hidden": False,
}
_completed: dict[str, Any] = {
    **_failed,
    "index": 0,
    "status": "completed",
    "tries": 1,
    "duration_ms": 40.0,
    "error_type": None,
    "error": None,
    "value": "page 1",
    "result": 120,
}
ITEM_SCHEMAS: Final[dict[str, Any]] = {
    "ItemPage": {"items": [_failed, _completed], "next": None},
}
