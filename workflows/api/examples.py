"""Examples of the OpenAPI document, by schema and by the status of errors."""

from __future__ import annotations

from typing import Any, Final

from workflows.api.example_values import (
    CHILD,
    DOCUMENT,
    JOB,
    RUN,
    T1,
    T2,
    T3,
    WORKFLOW,
)
from workflows.api.examples_events import EVENT_SCHEMAS
from workflows.api.examples_messages import MESSAGE_SCHEMAS

_workflow: dict[str, Any] = {
    "name": WORKFLOW,
    "title": "Sort mail",
    "description": "Sort incoming mail by subject.",
    "fingerprint": "9b1c5a7f04e2",
    "can_launch": True,
    "paused": None,
    "url": f"/workflows/{WORKFLOW}/",
}
_run: dict[str, Any] = {
    "id": RUN,
    "workflow": WORKFLOW,
    "title": "contract.pdf",
    "status": "waiting",
    "version": 7,
    "steps": 3,
    "attempt": 1,
    "priority": 0,
    "profile": "",
    "labels": ["audit-2026"],
    "pinned": False,
    "launched_by": "ci",
    "created_at": T1,
    "started_at": T2,
    "updated_at": T3,
    "completed_at": None,
    "waiting": {"kind": "approval", "node": "ask_reviewer", "until": None},
    "error": None,
    "cancel_requested_at": None,
    "deadline_at": None,
    "ends_as": None,
    "steps_to_undo": None,
    "steps_undone": None,
    "idempotency_key": "order-117",
    "parent": None,
    "url": f"/runs/{RUN}/",
}
_detail: dict[str, Any] = {
    **_run,
    "hidden": False,
    "params": {"document": DOCUMENT},
    "result": None,
    "cancel_reason": None,
    "actions": ["cancel", "label", "pin", "rerun", "unlabel"],
    "payload_removed_at": None,
    "continues": None,
    "continued_by": None,
    "launched_by_run": None,
    "launched_runs": [],
}
_stage: dict[str, Any] = {
    "sequence": 1,
    "kind": "node",
    "undoes": None,
    "branch": None,
    "attempt": 1,
    "node": "read_pages",
    "iteration": 1,
    "tries": 1,
    "status": "completed",
    "started_at": T2,
    "duration_ms": 812.4,
    "items_done": None,
    "items_total": None,
    "progress": None,
    "error": "",
}
_decision: dict[str, Any] = {
    "run": RUN,
    "workflow": WORKFLOW,
    "sequence": 3,
    "attempt": 1,
    "edge_index": 0,
    "from_node": "weigh",
    "to_node": "publish",
    "predicate": "is_confident",
    "result": False,
    "taken": False,
    "reason": "Confidence 0.62 is below 0.8.",
    "values": {"confidence": 0.62},
    "decided_by": None,
    "comment": "",
    "created_at": T3,
}
_line: dict[str, Any] = {
    "attempt": 1,
    "number": 1,
    "sequence": 1,
    "level": 20,
    "message": "12 pages read.",
    "created_at": T2,
}
_vote: dict[str, Any] = {
    "voter": "ada",
    "response": {"level": "PUBLIC"},
    "comment": "The banner counts.",
    "created_at": T3,
}
_approval: dict[str, Any] = {
    "run": RUN,
    "workflow": WORKFLOW,
    "sequence": 4,
    "node": "ask_reviewer",
    "kind": "question",
    "status": "open",
    "question": "Which level does the document have?",
    "form": {"type": "object", "properties": {"level": {"type": "string"}}},
    "evidence": {"confidence": 0.62},
    "initial": {"level": "PUBLIC"},
    "groups": ["reviewers"],
    "not_by": "launcher",
    "votes_needed": 2,
    "votes": [_vote],
    "can_respond": True,
    "refusal": "",
    "created_at": T3,
    "expires_at": None,
    "response": None,
    "responded_by": None,
    "responded_at": None,
    "comment": "",
}
_call: dict[str, Any] = {
    "id": "01a22a39-dd10-7c8e-bb02-6a1f0c9d3e42",
    "run": RUN,
    "workflow": WORKFLOW,
    "attempt": 1,
    "sequence": 2,
    "item": None,
    "kind": "chat",
    "agent": "default",
    "provider": "local",
    "model": "small",
    "status": "completed",
    "tokens_in": 1830,
    "tokens_out": 96,
    "estimated": False,
    "cost": "0.001254000",
    "duration_ms": 940.2,
    "tries": 1,
    "error_code": "",
    "error": "",
    "created_at": T2,
}
_document: dict[str, Any] = {
    "id": DOCUMENT,
    "name": "order.pdf",
    "size": 48213,
    "sha256": "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592",
    "content_type": "application/pdf",
    "pages": 12,
    "uploaded_by": "ci",
    "created_at": T1,
    "url": f"/documents/{DOCUMENT}/",
}
_job: dict[str, Any] = {
    "id": JOB,
    "action": "cancel",
    "label": None,
    "reason": "Wrong input file.",
    "requested_by": "alice",
    "total": 120,
    "done": 118,
    "refused": 2,
    "remaining": 0,
    "created_at": T2,
    "ended_at": T3,
    "cancelled": False,
    "url": f"/runs/bulk/{JOB}/",
}
_selection: dict[str, Any] = {
    "action": "cancel",
    "runs": None,
    "filters": {"workflow": WORKFLOW, "status": "waiting"},
}


def _page(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"items": [item], "next": None, **more}


_schedule: dict[str, Any] = {
    "name": "every morning",
    "cron": "0 9 * * 1-5",
    "zone": "Europe/Berlin",
    "params": {"document": DOCUMENT},
    "profile": None,
    "priority": 0,
    "overlap": "skip",
    "catch_up": "last",
    "jitter_seconds": 0,
    "ends_at": None,
}
_schedule_out: dict[str, Any] = {
    **_schedule,
    "id": JOB,
    "workflow": WORKFLOW,
    "description": "At 09:00 on Monday through Friday",
    "hidden": False,
    "owner": "ci",
    "paused": False,
    "paused_by": None,
    "pause_reason": None,
    "next": T1,
    "can_change": True,
    "created_at": T1,
    "updated_at": T1,
    "url": f"/schedules/{JOB}/",
}
_webhook: dict[str, Any] = {
    "name": "pull requests",
    "style": "github",
    "token_header": "",
    "mapping": [
        {"param": "document", "source": "body", "value": "pull_request.head.sha"}
    ],
    "filters": [{"source": "header", "value": "X-GitHub-Event", "values": ["push"]}],
    "deduplication": "delivery",
    "deduplication_field": "",
    "profile": None,
    "priority": 0,
}
_webhook_out: dict[str, Any] = {
    **_webhook,
    "id": JOB,
    "workflow": WORKFLOW,
    "hidden": False,
    "address": "/hooks/4nbtZ8kq0vXfH2LrWm7cYd1sPuJgEaTi",
    "enabled": True,
    "owner": "ci",
    "previous_secret_until": None,
    "rejected": 0,
    "rejected_at": None,
    "can_change": True,
    "created_at": T1,
    "updated_at": T1,
    "url": f"/webhooks/{JOB}/",
}
_delivery: dict[str, Any] = {
    "id": CHILD,
    "webhook": JOB,
    "outcome": "launched",
    "run": RUN,
    "message": "",
    "event": "push",
    "size": 61,
    "received_at": T1,
    "times": 1,
    "last_at": T1,
    "replay_of": None,
    "replayed_by": None,
    "url": f"/webhooks/{JOB}/deliveries/{CHILD}/",
}
_view: dict[str, Any] = {
    "id": 7,
    "name": "failed today",
    "owner": "alice",
    "shared": True,
    "query": {"status": "failed", "when": "24h"},
    "own": True,
}
WEBHOOK_SCHEMAS: Final[dict[str, Any]] = {
    "WebhookIn": _webhook,
    "WebhookOut": _webhook_out,
    "WebhookSaved": {
        "webhook": _webhook_out,
        "secret": "sRw8mJ5yq3VdT0kzXnB7cLfHuPaEgW2i",
    },
    "NewSecret": {"secret": ""},
    "WebhookPage": {"items": [_webhook_out], "next": None},
    "WebhookDeliveryPage": {"items": [_delivery], "next": None},
    "WebhookDeliveryDetail": {
        **_delivery,
        "headers": {"x-github-event": "push"},
        "body": '{"pull_request": {"head": {"sha": "4c1f"}}}',
    },
    "PreviewIn": {
        "webhook": _webhook,
        "payload": {"pull_request": {"head": {"sha": "4c1f"}}},
        "headers": {"X-GitHub-Event": "push"},
    },
    "PreviewOut": {
        "params": {"document": "4c1f"},
        "ignored": "",
        "missing": [],
        "errors": {},
    },
}
SCHEMAS: Final[dict[str, Any]] = {
    **WEBHOOK_SCHEMAS,
    **MESSAGE_SCHEMAS,
    **EVENT_SCHEMAS,
    "AgentOut": {
        "name": "default",
        "model": "small-1",
        "provider": "in-house",
        "capabilities": ["tools"],
        "default": True,
        "enabled": True,
    },
    "ProfileOut": {
        "name": "fast",
        "description": "A smaller model.",
        "weight": 0,
        "stages": None,
    },
    "ViewOut": _view,
    "ViewIn": {"name": "failed today", "shared": True},
    "NewView": {"name": "failed today", "filters": {"status": "failed", "when": "24h"}},
    "WorkflowSummary": _workflow,
    "WorkflowDetail": {
        **_workflow,
        "params": {
            "type": "object",
            "properties": {"document": {"type": "string", "format": "uuid"}},
            "required": ["document"],
        },
        "graph": {"entry": "read_pages", "nodes": [], "edges": []},
        "profiles": ["fast"],
    },
    "ScheduleIn": _schedule,
    "ScheduleOut": _schedule_out,
    "SchedulePage": {"items": [_schedule_out], "next": None},
    "MomentPage": {
        "items": [
            {
                "moment": T1,
                "result": "launched",
                "backfill": False,
                "run": RUN,
                "message": "",
                "processed_at": T2,
            }
        ],
        "next": None,
    },
    "BackfillPeriod": {"first": T1, "last": T3},
    "BackfillPlan": {"moments": [T1]},
    "BackfillQueued": {"queued": 1},
    "Launch": {"params": {"document": DOCUMENT}, "priority": 0},
    "RunDetail": _detail,
    "RunPage": _page(_run, scanned_to=None),
    "Reason": {"reason": "Wrong input file."},
    "Resume": {"reason": "The service is available again.", "token": ""},
    "LabelName": {"name": "audit-2026"},
    "labels": ["audit-2026"],
    "NoteText": {"text": "Checked with the archive."},
    "NoteOut": {
        "author": "alice",
        "text": "Checked with the archive.",
        "created_at": T3,
    },
    "StagePage": _page(_stage),
    "AttemptOut": {
        "number": 1,
        "worker": "worker-1",
        "started_at": T2,
        "ended_at": T3,
        "outcome": "paused",
        "error": "",
        "error_code": "",
    },
    "DecisionOut": _decision,
    "DecisionPage": _page(_decision, scanned_to=None),
    "StateOut": {"sequence": 3, "state": {"confidence": 0.62}},
    "LogPage": _page(_line),
    "ApprovalOut": _approval,
    "VoteOut": _vote,
    "ApprovalPage": _page(_approval),
    "Response": {"value": {"level": "PUBLIC"}, "reason": "Checked.", "sequence": 4},
    "RunTree": {
        "root": RUN,
        "runs": [
            {
                "id": RUN,
                "parent": None,
                "parent_step": None,
                "depth": 0,
                "workflow": WORKFLOW,
                "status": "waiting",
                "created_at": T1,
                "completed_at": None,
            },
            {
                "id": CHILD,
                "parent": RUN,
                "parent_step": 3,
                "depth": 1,
                "workflow": "summarize",
                "status": "running",
                "created_at": T2,
                "completed_at": None,
            },
        ],
        "truncated": False,
    },
    "ComparisonOut": {
        "a": RUN,
        "b": CHILD,
        "same_workflow": True,
        "same_graph": True,
        "first_difference": {
            "common_steps": 3,
            "description": "After step 3, Weigh: A → Publish, B → Ask reviewer.",
            "node": "weigh",
        },
        "nodes": [
            {
                "node": "read_pages",
                "duration_ms_a": 812.4,
                "duration_ms_b": 790.0,
                "executions_a": 1,
                "executions_b": 1,
            }
        ],
    },
    "CallPage": _page(_call),
    "DocumentOut": _document,
    "DocumentPage": _page(_document),
    "BulkSelection": _selection,
    "BulkPreview": {"total": 120, "applicable": 118, "confirmation": "WzEs…:1vQ…"},
    "BulkStart": {**_selection, "reason": "Wrong input file.", "confirmation": ""},
    "BulkOut": _job,
    "BulkItemPage": _page(
        {
            "position": 1,
            "run": RUN,
            "workflow": WORKFLOW,
            "result": "done",
            "message": "Cancelled or cancelling.",
        }
    ),
    "AuditPage": _page(
        {
            "id": 117,
            "actor": "ci",
            "token": "nightly import",
            "address": "192.0.2.7",
            "action": "cancel",
            "run": RUN,
            "workflow": WORKFLOW,
            "reason": "Wrong input file.",
            "status_before": "waiting",
            "status_after": "cancelled",
            "before": None,
            "after": None,
            "hidden": False,
            "created_at": T3,
        },
        scanned_to=None,
    ),
    "WorkersOut": {
        "workers": [
            {
                "name": "worker-1",
                "host": "app-1",
                "status": "alive",
                "capacity": 50,
                "occupied": 0,
                "blocked": False,
                "runs": [],
                "started_at": T1,
                "heartbeat_at": T3,
                "stopped_at": None,
            }
        ],
        "queue": [{"workflow": WORKFLOW, "pending": 3, "since": T2}],
    },
}
"""A valid body of each schema that an operation takes or returns."""

ERRORS: Final[dict[int, tuple[str, str, list[dict[str, str]]]]] = {
    400: (
        "invalid_cursor",
        "The cursor is invalid. Use `next` of a page of the same list.",
        [],
    ),
    401: (
        "unauthorized",
        "Send an API token in the header “Authorization: Bearer sbx_…”.",
        [],
    ),
    403: (
        "not_allowed",
        "You don’t have permission to change this run. Ask an administrator for access.",
        [],
    ),
    404: ("run_not_found", f"Run {RUN} not found. It may have been deleted.", []),
    409: ("invalid_status", "Run e7b59950 is completed and cannot be cancelled.", []),
    412: (
        "version_changed",
        "Run e7b59950 has changed: it is at version 8 now. Read it again, then decide.",
        [],
    ),
    413: ("too_large", "The file is larger than 50 MB, the most we accept.", []),
    416: (
        "requested_range_not_satisfiable",
        "The range is not within the file.",
        [],
    ),
    422: (
        "invalid_params",
        "document: Field required.",
        [{"field": "document", "message": "Field required."}],
    ),
    429: (
        "rate_limited",
        (
            "Too many requests to the API: the limit is 600 per minute. Nothing was"
            " changed. Try again in 12 seconds."
        ),
        [],
    ),
    503: (
        "database_unavailable",
        "The database is unavailable. Try again in a few seconds.",
        [],
    ),
}
"""Code, detail and field errors of an example for each status."""
