"""Stream the rows of many runs as links of their chains, run by run."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db.models import F, Q

from workflows.audit import seals
from workflows.audit.chain_verification import Link
from workflows.audit.row_adapters import as_bytes, decision_row, stage_row
from workflows.audit.seal_rows import CLOSED
from workflows.models import AuditEvent, Decision, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from django.db.models import Model, QuerySet

RESTORED = "its values were deleted by retention, but it has values"
FETCHED = 2_000  # rows per query of each table
_LAST = b"\xff" * seals.SEAL_BYTES  # rows without a seal come after those with one
IN_ORDER = ("run_id", F("seal").asc(nulls_last=True), "id")


@dataclass(frozen=True, slots=True)
class RunLink:
    """A link with its run and chain."""

    run_id: UUID
    is_audit_event: bool
    link: Link


def links(among: Q) -> Iterator[RunLink]:
    """Yield the rows of runs: by run, steps before audit events, by position.

    `among` is a condition on `run_id`.
    """
    streams = (
        _of(Stage.objects.filter(among), stage_link),
        _of(Decision.objects.filter(among), decision_link),
        _of(AuditEvent.objects.filter(among), audit_event_link),
    )
    yield from heapq.merge(*streams, key=_order)


def _order(row: RunLink) -> tuple[UUID, bool, bytes]:
    return row.run_id, row.is_audit_event, row.link.seal or _LAST


def _of(rows: QuerySet[Any], as_link: Any) -> Iterator[RunLink]:
    model: type[Model] = rows.model
    for row in rows.order_by(*IN_ORDER).iterator(chunk_size=FETCHED):
        yield RunLink(row.run_id, model is AuditEvent, as_link(row))


def stage_link(stage: Stage) -> Link:
    """Return the link of a stage."""
    return Link(
        "stage",
        stage.pk,
        stage.sequence,
        as_bytes(stage.seal),
        stage.created_at,
        seals.stage_fields(stage.run_id, stage.attempt, stage_row(stage)),
        is_open=stage.status not in CLOSED,
        attempt=stage.attempt,
        branch=stage.branch,
        steps_before=stage.items_total or 0,
    )


def decision_link(decision: Decision) -> Link:
    """Return the link of a decision; if its account was deleted, try all deleted ones."""
    digest = as_bytes(decision.values_digest)
    values = digest or seals.payload_digest(decision.values)
    note = RESTORED if digest and decision.values != {} else ""
    row = decision_row(decision)
    run_id, name, attempt = decision.run_id, decision.workflow_name, decision.attempt

    def _alternatives() -> Iterator[Sequence[Any]]:
        if decision.decided_by_id is None:
            for row.decided_by_id in deleted_accounts(run_id):
                yield seals.decision_fields(run_id, name, attempt, row, values)

    return Link(
        "decision",
        decision.pk,
        decision.sequence,
        as_bytes(decision.seal),
        decision.created_at,
        seals.decision_fields(run_id, name, attempt, row, values),
        _alternatives,
        note=note,
        is_pruned=digest is not None,
    )


def audit_event_link(event: AuditEvent) -> Link:
    """Return the link of an audit event."""
    return Link(
        "audit event",
        event.pk,
        None,
        as_bytes(event.seal),
        event.created_at,
        seals.audit_event_fields(event),
        note=_actor_note(event),
        action=event.action,
    )


def deleted_accounts(run_id: UUID) -> list[int]:
    """Return the ids of deleted accounts with audit events of a run."""
    events = AuditEvent.objects.filter(run_id=run_id, actor_key__isnull=False)
    keys = {key for key in events.values_list("actor_key", flat=True) if key}
    there = get_user_model().objects.filter(pk__in=keys).values_list("pk", flat=True)
    return sorted(keys - set(there))


def _actor_note(event: AuditEvent) -> str:
    """Return the fault of the actor, which is null only if the account was deleted."""
    key = event.actor_key
    if event.actor_id == key or (event.actor_id is None and _is_gone(key)):
        return ""
    return "its actor was changed"


def _is_gone(key: int | None) -> bool:
    return key is not None and not get_user_model().objects.filter(pk=key).exists()
