"""Examples of requests about the work on approvals."""

from __future__ import annotations

from typing import Any, Final

APPROVAL_SCHEMAS: Final[dict[str, Any]] = {
    "ApprovalRef": {"sequence": 4},
}
