"""Examples of destinations, deliveries, notifications and alerts."""

from __future__ import annotations

from typing import Any, Final

from workflows.api.example_values import JOB, RUN, T1, T2, WORKFLOW

_destination: dict[str, Any] = {
    "name": "erp",
    "url": "https://erp.example.org/hooks/signalbox",
    "events": ["run.failed"],
    "workflows": [WORKFLOW],
}
_destination_out: dict[str, Any] = {
    **_destination,
    "kind": "webhook",
    "id": JOB,
    "owner": "ci",
    "state": "working",
    "failures": 0,
    "failing_since": None,
    "next_attempt_at": None,
    "paused_by": None,
    "pause_reason": None,
    "created_at": T1,
    "updated_at": T1,
    "page": f"/destinations/{JOB}/",
}
_message: dict[str, Any] = {
    "id": 12,
    "destination": JOB,
    "message_id": "msg_01a22a39d23473d3afc18e9ae7b59950",
    "type": "run.failed",
    "workflow": WORKFLOW,
    "run": RUN,
    "status": "delivered",
    "attempts": 1,
    "replayed_by": None,
    "created_at": T1,
    "ended_at": T2,
}
_secret = {"destination": _destination_out, "secret": "whsec_…"}
_variable: dict[str, Any] = {
    "value": "mail.example.org",
    "secret": None,
    "description": "Mail server of the office.",
    "workflows": [WORKFLOW],
}
_variable_out: dict[str, Any] = {
    "name": "smtp_host",
    "is_secret": False,
    "value": "mail.example.org",
    "description": "Mail server of the office.",
    "workflows": [WORKFLOW],
    "created_at": T1,
    "updated_at": T2,
}
_alert: dict[str, Any] = {
    "name": "many failures",
    "metric": "failed_share",
    "raise_above": 0.2,
    "clear_at": 0.1,
    "window_minutes": 60,
    "min_count": 20,
    "from_node": "",
    "to_node": "",
}
_alert_out: dict[str, Any] = {
    **_alert,
    "id": JOB,
    "workflow": WORKFLOW,
    "owner": "ci",
    "raised_at": T1,
    "value": 0.25,
    "evaluated_at": T2,
    "can_change": True,
    "created_at": T1,
    "updated_at": T1,
    "url": f"/alerts/{JOB}/",
}
_subscription: dict[str, Any] = {
    "id": 3,
    "kind": "workflow",
    "target": WORKFLOW,
    "mail": "daily",
    "chat": "none",
    "created_at": T1,
}
MESSAGE_SCHEMAS: Final[dict[str, Any]] = {
    "DestinationIn": _destination,
    "DestinationOut": _destination_out,
    "DestinationPage": {"items": [_destination_out], "next": None},
    "DestinationSecret": _secret,
    "DeliveryOut": _message,
    "DeliveryPage": {"items": [_message], "next": None},
    "DeliveryDetail": {
        **_message,
        "body": {"type": "run.failed", "version": 1},
        "tries": [
            {
                "number": 1,
                "started_at": T1,
                "duration_ms": 87,
                "response_status": 204,
                "error": None,
                "excerpt": "",
            }
        ],
    },
    "NotificationPage": {
        "items": [
            {
                "id": 7,
                "type": "run.failed",
                "title": f"Run failed: {WORKFLOW} 9ae7b599",
                "workflow": WORKFLOW,
                "run": RUN,
                "created_at": T1,
                "read_at": None,
                "url": f"/runs/{RUN}/",
            }
        ],
        "next": None,
    },
    "ReadIn": {"notifications": [7]},
    "ReadOut": {"read": 1},
    "SubscriptionIn": {"kind": "workflow", "target": WORKFLOW, "mail": "daily"},
    "SubscriptionOut": _subscription,
    "ChatIn": {"address": "slack://TokenA/TokenB/TokenC/#my-runs"},
    "ChatOut": {
        "address": "slack://T...A/****/****/%23my-runs/",
        "state": "working",
        "failures": 0,
        "error": None,
        "next_attempt_at": None,
        "updated_at": T1,
    },
    "SubscriptionPage": {"items": [_subscription], "next": None},
    "VariableIn": _variable,
    "VariableOut": _variable_out,
    "AlertIn": _alert,
    "AlertOut": _alert_out,
    "AlertPage": {"items": [_alert_out], "next": None},
    "ReplayIn": {"deliveries": [12]},
    "Replayed": {"deliveries": [{**_message, "id": 13, "status": "pending"}]},
}
