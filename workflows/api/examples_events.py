"""Examples of events."""

from __future__ import annotations

from typing import Any, Final

from workflows.api.example_values import JOB, RUN, T1, T2, T3, WORKFLOW

_event: dict[str, Any] = {
    "name": "payment",
    "key": "117",
    "value": {"amount": 120},
    "workflow": WORKFLOW,
}
EVENT_SCHEMAS: Final[dict[str, Any]] = {
    "EventIn": _event,
    "PausedWorkflow": {
        "workflow": WORKFLOW,
        "at": T1,
        "by": "ada",
        "reason": "The mail server is down.",
    },
    "SentOut": {
        "id": JOB,
        "workflow": WORKFLOW,
        "name": "payment",
        "key": "117",
        "sent_at": T2,
        "runs": [RUN],
        "kept": False,
    },
    "WaitOut": {
        "sequence": 3,
        "node": "paid",
        "kind": "event",
        "event": "payment",
        "key": "117",
        "status": "received",
        "since": T1,
        "until": None,
        "ended_at": T3,
        "message": {
            "id": JOB,
            "sender": "erp",
            "sent_at": T2,
            "value": {"amount": 120},
        },
    },
}
