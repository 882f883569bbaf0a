"""The body of a message: what happened to which run, without the data of the run.

Params, results, reasons, questions and error messages are never in a message, since a
receiver has no permissions that could be checked. The URL leads to the page, which does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from workflows.models import Decision, EventKind, Run, ScheduleMoment

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from workflows.models import OutboxEvent

VERSION: Final = 1  # of the form of `data`; fields may be added within a version
MAX_DECISIONS: Final = 20  # the last ones
RUN_ENDS: Final = frozenset(
    {EventKind.RUN_COMPLETED, EventKind.RUN_FAILED, EventKind.RUN_CANCELLED}
)


def body_of(event: OutboxEvent) -> str:
    """Return the message about an event as JSON text."""
    return as_text(event.kind, event.created_at, _data(event))


def test_body(now: dt.datetime, name: str) -> str:
    """Return the message of a test."""
    return as_text("test", now, {"destination": name})


def as_text(kind: str, at: dt.datetime, data: dict[str, Any]) -> str:
    """Return a message in the form that Standard Webhooks recommends."""
    message = {
        "type": kind,
        "timestamp": at.isoformat(),
        "version": VERSION,
        "data": data,
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def absolute(path: str) -> str:
    """Return the URL of a page for readers outside of the application."""
    return urljoin(settings.PUBLIC_URL, path)


def _data(event: OutboxEvent) -> dict[str, Any]:
    data: dict[str, Any] = {"workflow": event.workflow_name}
    if event.run_id is not None:
        data["run"] = _run(event.run_id, event)
    name, build = _PARTS[event.kind.partition(".")[0]]
    data[name] = build(event)
    return data


def _approval(event: OutboxEvent) -> dict[str, Any]:
    return {"id": event.facts["approval"], **_step(event)}


def _step(event: OutboxEvent) -> dict[str, Any]:
    return {"step": event.facts["sequence"], "node": event.facts["node"]}


def _message(event: OutboxEvent) -> dict[str, Any]:
    """Return the message that was sent or received, and the step that waited for it."""
    message = event.facts["message"]
    step = _step(event) if "sequence" in event.facts else {}
    name = {"name": event.facts["event"]} if event.facts["event"] else {}
    return {"message": str(UUID(str(message))) if message else None, **name, **step}


def _run(run_id: UUID, event: OutboxEvent) -> dict[str, Any]:
    """Return the run as it was at the event, as far as the event knows it."""
    fields = ("created_at", "started_at", "parent_id", "sequence", "attempt", "status")
    row = Run.objects.filter(pk=run_id).values(*fields).first() or {}
    facts = event.facts
    is_end = event.kind in RUN_ENDS
    return {
        "id": str(run_id),
        "url": absolute(reverse("run", args=[run_id])),
        "status": facts.get("status", row.get("status")),
        "attempt": facts["attempt"] if is_end else row.get("attempt"),
        "steps": facts["sequence"] if is_end else row.get("sequence"),
        "launched_at": _time(row.get("created_at")),
        "started_at": _time(row.get("started_at")),
        "ended_at": _time(event.created_at) if is_end else None,
        "error_code": facts.get("error_code") or None,
        "error_node": facts.get("error_node") or None,
        "parent": str(row["parent_id"]) if row.get("parent_id") else None,
    }


def _decisions(event: OutboxEvent) -> list[dict[str, Any]]:
    """Return the last edges that were taken, in order, without reasons and values."""
    taken = Decision.objects.filter(
        run=event.run_id,
        taken=True,
        sequence__lte=event.facts["sequence"],
        attempt__lte=event.facts["attempt"],
    ).order_by("-sequence", "-attempt", "-edge_index")
    fields = ("sequence", "from_node", "to_node", "predicate_name")
    return [
        {"step": step, "from": source, "to": target, "condition": condition or None}
        for step, source, target, condition in reversed(
            taken.values_list(*fields)[:MAX_DECISIONS]
        )
    ]


def _schedule(event: OutboxEvent) -> dict[str, Any]:
    """Return the schedule and its moment, which may have been deleted."""
    schedule_id = UUID(str(event.facts["schedule"]))
    moment = ScheduleMoment.objects.filter(pk=event.facts["moment"])
    row = moment.select_related("schedule").first()
    return {
        "id": str(schedule_id),
        "url": absolute(reverse("schedule", args=[schedule_id])),
        "name": row.schedule.name if row else None,
        "time": _time(row.moment) if row else None,
        "result": event.facts["result"],
    }


def _alert(event: OutboxEvent) -> dict[str, Any]:
    names = ("name", "metric", "value", "limit")
    return {
        "id": event.facts["alert"],
        "url": absolute(reverse("alert", args=[event.facts["alert"]])),
        **{name: event.facts[name] for name in names},
    }


def _pause(event: OutboxEvent) -> dict[str, Any]:
    url = absolute(reverse("workflow", args=[event.workflow_name]))
    return {"url": url, "by": event.facts.get("by")}


def _limit(event: OutboxEvent) -> str:
    return str(event.facts["limit"])


def _time(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at else None


# What a message has besides workflow and run, by the first part of its kind
_PARTS: Final[dict[str, tuple[str, Callable[[OutboxEvent], Any]]]] = {
    "run": ("decisions", _decisions),
    "approval": ("approval", _approval),
    "schedule": ("schedule", _schedule),
    "event": ("event", _message),
    "callback": ("callback", _message),
    "launch": ("limit", _limit),
    "workflow": ("pause", _pause),
    "alert": ("alert", _alert),
}
