"""Rows of documents, bulk actions, workers, audit and agent calls as schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import reverse

from workflows.agents import call_content
from workflows.api.representations import run_summaries
from workflows.api.schemas_operations import (
    AuditEventOut,
    BulkItemOut,
    BulkOut,
    CallContentOut,
    CallOut,
    DocumentOut,
    QueueOut,
    RunFileOut,
    WorkerOut,
    WorkersOut,
)
from workflows.models import CallReplay, CallStatus
from workflows.pages.lists.audit_filters import can_read
from workflows.pages.redaction import HIDDEN, is_redacted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from django.contrib.auth.models import User

    from workflows.models import (
        AgentCall,
        AuditEvent,
        BulkItem,
        BulkJob,
        Document,
        RunFile,
        Worker,
    )
    from workflows.pages.lists.workers import ActiveWorker, Workers


def call(row: AgentCall, *, content: bool = False) -> CallOut:
    """Return an agent call; redact it first if the viewer may not read its data.

    With `content`, select the related content with the rows.
    """
    return CallOut(
        id=row.pk,
        run=row.run_id,
        workflow=row.workflow_name,
        attempt=row.attempt,
        sequence=row.sequence,
        item=row.item,
        kind=row.kind,
        agent=row.agent_name,
        provider=row.provider_name,
        model=row.model,
        status=CallStatus(row.status),
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        estimated=row.is_estimated,
        cost=None if row.cost is None else str(row.cost),
        duration_ms=row.latency_ms,
        tries=row.tries,
        error_code=row.error_code,
        error=row.error_message,
        created_at=row.created_at,
        replay=CallReplay(row.replay) if row.replay else None,
        replayed_from=row.replayed_from,
        content=_content(row) if content and not is_redacted(row) else None,
    )


def _content(row: AgentCall) -> CallContentOut | None:
    stored = getattr(row, "content", None)
    if stored is None:
        return None
    return CallContentOut.model_validate(call_content.read(stored).as_json())


def document(row: Document) -> DocumentOut:
    """Return a document."""
    return DocumentOut(
        id=row.pk,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        content_type=row.content_type,
        pages=row.page_count,
        uploaded_by=row.uploaded_by.get_username() if row.uploaded_by else None,
        created_at=row.created_at,
        url=reverse("document", args=[row.pk]),
    )


def run_file(row: RunFile) -> RunFileOut:
    """Return a file that a run made."""
    return RunFileOut(
        id=row.pk,
        run=row.run_id,
        node=row.node_name,
        sequence=row.sequence,
        attempt=row.attempt,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        content_type=row.content_type,
        created_at=row.created_at,
        url=reverse("api:download_file", args=[row.run_id, row.pk]),
    )


def bulk_job(row: BulkJob) -> BulkOut:
    """Return a bulk operation."""
    return BulkOut(
        id=row.pk,
        action=row.action,
        label=row.label or None,
        reason=row.reason or None,
        requested_by=row.person_name,
        total=row.total,
        done=row.done,
        refused=row.refused,
        remaining=row.remaining,
        created_at=row.created_at,
        ended_at=row.ended_at,
        cancelled=row.cancelled_at is not None,
        url=reverse("bulk-job", args=[row.pk]),
    )


def bulk_item(row: BulkItem) -> BulkItemOut:
    """Return the result of a bulk operation for one run."""
    return BulkItemOut(
        position=row.position,
        run=row.run_id,
        workflow=row.workflow_name,
        result=row.result,
        message=row.text,
    )


def audit_events(rows: Iterable[AuditEvent], user: User) -> list[AuditEventOut]:
    """Return audit events, without reasons and values that the user may not read."""
    return [audit_event(row, hidden=not can_read(user, row)) for row in rows]


def audit_event(row: AuditEvent, *, hidden: bool) -> AuditEventOut:
    """Return an audit event, with or without its reason and values."""
    return AuditEventOut(
        id=row.pk,
        actor=row.actor_name,
        token=row.token_name or None,
        address=row.address,
        action=row.action_name,
        run=row.run_id,
        workflow=row.workflow_name,
        reason=HIDDEN if hidden and row.reason else row.reason,
        status_before=row.status_before,
        status_after=row.status_after,
        before=None if hidden else row.before,
        after=None if hidden else row.after,
        hidden=hidden,
        created_at=row.created_at,
    )


def workers(found: Workers, user: User) -> WorkersOut:
    """Return workers and queue."""
    rows = [_active(one, user) for one in found.alive]
    rows += [_worker(one, "silent") for one in found.silent]
    rows += [_worker(one, "stopped") for one in found.stopped]
    queue = [
        QueueOut(workflow=one.workflow_name, pending=one.count, since=one.since)
        for one in found.queue
    ]
    return WorkersOut(workers=rows, queue=queue)


def _active(one: ActiveWorker, user: User) -> WorkerOut:
    row = _worker(one.worker, "alive")
    row.occupied, row.blocked = one.occupied, one.is_blocked
    row.runs = run_summaries(one.runs, user)
    return row


def _worker(row: Worker, status: Literal["alive", "silent", "stopped"]) -> WorkerOut:
    return WorkerOut(
        name=row.name,
        host=row.host,
        status=status,
        capacity=row.capacity,
        occupied=0,
        blocked=False,
        runs=[],
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        stopped_at=row.stopped_at,
    )
