"""What runs wait for, as the schemas of the API: messages, and a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.api.schemas import BlockedOut
from workflows.api.schemas_events import MessageOut, WaitOut
from workflows.models import EventWaitKind, EventWaitStatus, Status
from workflows.pages.catalog import installed_workflow
from workflows.pages.redaction import is_redacted
from workflows.services import pauses
from workflows.services.limit_states import limit_state

if TYPE_CHECKING:
    from workflows.models import EventMessage, EventWait, Run


def blocked_by(run: Run) -> BlockedOut | None:
    """Return what keeps a pending run from starting, None if any worker may start it."""
    if run.status != Status.PENDING:
        return None
    if pauses.pause_of(run):
        return BlockedOut(by="pause", limit=None, until=None, runs=[])
    workflow = installed_workflow(run.workflow_name)
    found = limit_state(run, workflow.limits if workflow else None)
    if found is None:
        return None
    return BlockedOut(
        by="limit" if found.text else "debounce",
        limit=found.text or None,
        until=found.until,
        runs=[one.pk for one in found.holders],
    )


def wait(row: EventWait) -> WaitOut:
    """Return a wait; redact it and its message first if the viewer may not read them."""
    return WaitOut(
        sequence=row.sequence,
        node=row.node_name,
        kind=EventWaitKind(row.kind),
        event=row.name,
        key=row.key,
        status=EventWaitStatus(row.status),
        since=row.created_at,
        until=row.expires_at,
        ended_at=row.closed_at,
        message=_message(row.message) if row.message else None,
    )


def _message(row: EventMessage) -> MessageOut:
    return MessageOut(
        id=row.pk,
        sender=row.sender_name,
        sent_at=row.created_at,
        value=None if is_redacted(row) else row.value,
    )
