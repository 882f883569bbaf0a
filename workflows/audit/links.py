"""The rows of many runs as links of their chains, run by run, without holding them all."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db.models import F, Q

from workflows.audit import seals
from workflows.audit.chain import CLOSED
from workflows.audit.chain_walker import Link
from workflows.audit.row_adapters import as_bytes, decision_row, stage_row
from workflows.models import AuditEvent, Decision, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from django.db.models import Model, QuerySet

PUT_BACK = "its values were let go, and now there are some"
FETCHED = 2_000  # rows held at once of each table
_LAST = b"\xff" * seals.SEAL_BYTES  # rows without a seal come after those with one
IN_ORDER = ("run_id", F("seal").asc(nulls_last=True), "id")


@dataclass(frozen=True, slots=True)
class OfRun:
    """A link, whose it is, and in which of the run's chains."""

    run_id: UUID
    is_audit_event: bool
    link: Link


def links(among: Q) -> Iterator[OfRun]:
    """Yield the rows of these runs: run by run, steps before deeds, each by its place.

    `among` is a condition on `run_id`.
    """
    streams = (
        _of(Stage.objects.filter(among), stage_link),
        _of(Decision.objects.filter(among), decision_link),
        _of(AuditEvent.objects.filter(among), audit_event_link),
    )
    yield from heapq.merge(*streams, key=_order)


def _order(row: OfRun) -> tuple[UUID, bool, bytes]:
    return row.run_id, row.is_audit_event, row.link.seal or _LAST


def _of(rows: QuerySet[Any], as_link: Any) -> Iterator[OfRun]:
    model: type[Model] = rows.model
    for row in rows.order_by(*IN_ORDER).iterator(chunk_size=FETCHED):
        yield OfRun(row.run_id, model is AuditEvent, as_link(row))


def stage_link(stage: Stage) -> Link:
    """Return a stage as a link."""
    return Link(
        "stage",
        stage.pk,
        stage.sequence,
        as_bytes(stage.seal),
        stage.created_at,
        seals.stage_fields(stage.run_id, stage.attempt, stage_row(stage)),
        is_open=stage.status not in CLOSED,
    )


def decision_link(decision: Decision) -> Link:
    """Return a decision as a link; whose account is gone may have been anybody's."""
    digest = as_bytes(decision.values_digest)
    values = digest or seals.payload_digest(decision.values)
    note = PUT_BACK if digest and decision.values != {} else ""
    row = decision_row(decision)
    run_id, name, attempt = decision.run_id, decision.workflow_name, decision.attempt

    def by_those_gone() -> Iterator[Sequence[Any]]:
        if decision.decided_by_id is None:
            for row.decided_by_id in accounts_gone(run_id):
                yield seals.decision_fields(run_id, name, attempt, row, values)

    return Link(
        "decision",
        decision.pk,
        decision.sequence,
        as_bytes(decision.seal),
        decision.created_at,
        seals.decision_fields(run_id, name, attempt, row, values),
        by_those_gone,
        note=note,
        is_pruned=digest is not None,
    )


def audit_event_link(deed: AuditEvent) -> Link:
    """Return what somebody did as a link."""
    return Link(
        "audit event",
        deed.pk,
        None,
        as_bytes(deed.seal),
        deed.created_at,
        seals.audit_event_fields(deed),
        note=_actor_note(deed),
        action=deed.action,
    )


def accounts_gone(run_id: UUID) -> list[int]:
    """Return the ids of accounts that did something to a run and are no more."""
    deeds = AuditEvent.objects.filter(run_id=run_id, actor_key__isnull=False)
    keys = {key for key in deeds.values_list("actor_key", flat=True) if key}
    there = get_user_model().objects.filter(pk__in=keys).values_list("pk", flat=True)
    return sorted(keys - set(there))


def _actor_note(deed: AuditEvent) -> str:
    """Return what is wrong with the link to an account: it goes only with the account."""
    key = deed.actor_key
    if deed.actor_id == key or (deed.actor_id is None and _is_gone(key)):
        return ""
    return "its actor was changed"


def _is_gone(key: int | None) -> bool:
    return key is not None and not get_user_model().objects.filter(pk=key).exists()
