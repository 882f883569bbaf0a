"""Requests for all operations of the API, with the rows of the permission fixtures."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

from tests.support.permission_fixtures import ABOUT_APPROVALS, OURS, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

    from workflows.models import Run

ROOT = "/api/v1/"
REASON = {"reason": "Check of permissions."}
BODIES: dict[str, Any] = {
    "launch_run": {"params": {}},
    "cancel_run": REASON,
    "pause_workflow": REASON,
    "resume_run": REASON,
    "rerun": REASON,
    "override_decision": {"step": 1, "edge": 0, **REASON},
    "change_response": {"step": 1, "value": {}, **REASON},
    "release_run": REASON,
    "pin_run": REASON,
    "mark_golden": REASON,
    "assess": {"right": True},
    "promote_profile": {"profile": "p", **REASON},
    "add_label": {"name": "new"},
    "add_note": {"text": "new"},
    "respond": {"value": {}, **REASON},
    "claim_approval": {},
    "release_approval": {},
    "reassign_approval": {"to": "olga owner"},
    "escalate_approval": {},
    "snooze_approval": {"until": None},
    "remind_approvers": {},
    "respond_to_several": {"approvals": [{"run": str(uuid4())}], "value": {}},
    "send_event": {"name": "payment", "workflow": OURS},
    "preview_bulk_action": {"action": "cancel", "filters": {}},
    "start_bulk_action": {"action": "cancel", "filters": {}, **REASON},
}
SCHEDULE = {"name": "new", "cron": "0 9 * * *", "zone": "UTC"}
PERIOD = {"first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z"}
BODIES |= {
    "create_schedule": SCHEDULE,
    "change_schedule": SCHEDULE,
    "pause_schedule": REASON,
    "preview_backfill": PERIOD,
    "start_backfill": PERIOD,
}
WEBHOOK = {"name": "new"}
BODIES |= {
    "create_webhook": WEBHOOK,
    "change_webhook": WEBHOOK,
    "rotate_webhook_secret": {},
    "disable_webhook": REASON,
    "preview_webhook": {"webhook": WEBHOOK, "payload": {}},
}
ALERT = {"name": "new", "metric": "failed_share", "raise_above": 0.5}
DESTINATION = {"name": "new", "url": "http://127.0.0.1:9/hook"}
BODIES |= {
    "create_destination": DESTINATION,
    "change_destination": DESTINATION,
    "pause_destination": REASON,
    "create_alert": ALERT,
    "change_alert": ALERT,
    "read_notifications": {},
    "follow": {"kind": "failures"},
    "save_chat": {"address": "no address"},
}
BODIES |= {
    "define_variable": {"value": "mail.example", "workflows": [OURS]},
    "save_view": {"name": "new", "filters": {"status": "failed"}},
    "change_view": {"name": "new"},
}
QUERIES: dict[str, dict[str, Any]] = {
    "delete_run": REASON,
    "delete_schedule": REASON,
    "delete_webhook": REASON,
    "delete_destination": REASON,
    "delete_alert": REASON,
    "delete_variable": REASON,
    "unpin_run": REASON,
    "unmark_golden": REASON,
    "remove_label": {"name": "new"},
    "remove_document": REASON,
}


def operations() -> Iterator[tuple[str, str, str]]:
    """Yield method, path as in the table, and id of each operation of the API."""
    from workflows.api.application import api
    from workflows.api.openapi import operations_of

    for path, method, operation in operations_of(api.get_openapi_schema()):
        address = re.sub(r"\{(\w+)\}", r"<\1>", path.removeprefix(ROOT))
        yield method.upper(), address, operation["operationId"]


def run_of(operation_id: str, world: World) -> Run:
    """Return the run that a request is about."""
    return world.asked.run if ABOUT_APPROVALS.search(operation_id) else world.run


def path_of(address: str, operation_id: str, world: World) -> str:
    """Return the path and query of a request."""
    values: dict[str, Any] = {
        "<run_id>": run_of(operation_id, world).pk,
        "<name>": OURS,
        "<sequence>": 1,
        "<document_id>": world.document.pk,
        "<file_id>": world.file.pk,
        "<number>": 1,
        "<job_id>": world.job.pk,
        "<schedule_id>": world.schedule.pk,
        "<view_id>": world.view.pk,
        "<webhook_id>": world.delivery.endpoint_id,
        "<destination_id>": world.message.destination_id,
        "<delivery>": world.message.pk,
        "<webhook_delivery_id>": world.delivery.pk,
        "<subscription_id>": world.subscription.pk,
        "<alert_id>": world.incident.rule_id,
        "<variable>": "host",
    }
    for part, value in values.items():
        address = address.replace(part, str(value))
    query = QUERIES.get(operation_id, {})
    if operation_id == "compare_runs":
        query = {"a": world.run.pk, "b": world.runs["completed"].pk}
    return f"{ROOT}{address}" + (f"?{urlencode(query)}" if query else "")


def send(
    client: Client, method: str, address: str, operation_id: str, world: World
) -> Any:
    """Send the request for an operation; return the response."""
    path = path_of(address, operation_id, world)
    if operation_id == "upload_document":
        return client.post(path, b"not a PDF", content_type="application/pdf")
    if operation_id == "launch_batch":
        return client.post(path, b"threshold\n0.5\n", content_type="text/csv")
    body = BODIES.get(operation_id)
    if operation_id == "replay_deliveries":
        body = {"deliveries": [world.message.pk]}
    if body is None:
        return client.generic(method, path)
    return client.generic(
        method, path, json.dumps(body), content_type="application/json"
    )
