"""What a run waits and waited for besides approvals: its waits with the messages received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.models import EventWait, Run
from workflows.pages.redaction import redact_rows

if TYPE_CHECKING:
    import datetime as dt

KINDS = frozenset({"event", "callback", "first_of"})  # of nodes that wait for messages
MAX_WAITS = 200  # newest


def can_wait_for_events(run: Run) -> bool:
    """Return whether the workflow of a run has nodes that wait for messages."""
    nodes = run.graph.get("nodes", ()) if isinstance(run.graph, dict) else ()
    return any(node.get("kind") in KINDS for node in nodes)


def waits_of(run: Run, *, until: dt.datetime | None = None) -> list[EventWait]:
    """Return the waits of a run, the newest first, redacted if the run is."""
    if not can_wait_for_events(run):
        return []
    rows = EventWait.objects.filter(run=run).select_related("message")
    if until is not None:
        rows = rows.filter(created_at__lte=until)
    waits = redact_rows(run, rows.order_by("-sequence", "position")[:MAX_WAITS])
    redact_rows(run, [wait.message for wait in waits if wait.message])
    return waits
