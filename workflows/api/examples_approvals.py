"""Examples of claims, assignments, snoozes and reminders of approvals."""

from __future__ import annotations

from typing import Any, Final

from workflows.api.example_values import RUN, T3

_one: dict[str, Any] = {"run": RUN, "sequence": 4}
APPROVAL_SCHEMAS: Final[dict[str, Any]] = {
    "ApprovalRef": {"sequence": 4},
    "Reassignment": {"to": "ada", "reason": "She knows the client.", "sequence": 4},
    "Escalation": {"reason": "The client is waiting.", "sequence": 4},
    "Snooze": {"until": T3, "sequence": 4},
    "SnoozeOut": {"until": T3},
    "RunApproval": _one,
    "Responses": {
        "approvals": [_one],
        "value": {"level": "PUBLIC"},
        "reason": "Checked.",
    },
    "ResponseResult": {"run": RUN, "saved": True, "code": "", "detail": ""},
}
