"""Delete runs with their history; a sealed record of the deletion is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef

from workflows.audit import audit_events
from workflows.documents.run_files import delete_files_of
from workflows.errors import InUse, InvalidStatus
from workflows.models import (
    EventMessage,
    EventWait,
    GoldenRun,
    RemovedRun,
    Run,
    WebhookDelivery,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser


def delete(run: Run, *, by: AbstractBaseUser | None, reason: str) -> None:
    """Delete an ended run; call it within a transaction.

    Raises InvalidStatus, and InUse for a golden run, and until its parent has read the
    outcome: otherwise the parent would launch the child run again.
    """
    locked = Run.objects.select_for_update().filter(pk=run.pk)
    if not locked.exclude(pk__in=Run.objects.live()).exists():
        raise InvalidStatus(run, wanted="deleted; cancel it first")
    if GoldenRun.objects.filter(run=run).exists():
        raise InUse(f"Run {run.short_id} is golden: unmark it before you delete it.")
    parent = _waiting_parent(run)
    if parent is not None:
        raise InUse(
            f"Run {run.short_id} cannot be deleted yet: its parent {parent.short_id} has not"
            " read its outcome."
        )
    event = audit_events.record(run, "delete", by=by, reason=reason)
    record_removed_run(run, by_name=event.actor_name, reason=reason)
    run.stages.all().delete()
    run.decisions.all().delete()
    delete_payloads_of_deliveries([run.pk])
    delete_payloads_of_messages([run.pk])
    delete_files_of([run.pk])
    run.delete()


def delete_payloads_of_deliveries(run_ids: Sequence[UUID]) -> None:
    """Delete body and headers of the deliveries to webhooks that launched these runs."""
    rows = WebhookDelivery.objects.filter(run_id__in=run_ids).exclude(body="")
    rows.update(body="", headers={})


def delete_payloads_of_messages(run_ids: Sequence[UUID]) -> None:
    """Delete the values of messages that these runs received, and no other run with data."""
    others = EventWait.objects.filter(
        message=OuterRef("pk"), run__payload_removed_at=None
    ).exclude(run__in=run_ids)
    rows = EventMessage.objects.filter(waits__run__in=run_ids).exclude(Exists(others))
    EventMessage.objects.filter(pk__in=rows.values("pk")).update(value=None)


def _waiting_parent(run: Run) -> Run | None:
    """Return the active parent that has not read the outcome of this run."""
    if run.parent_id is None or run.parent_sequence is None:
        return None
    parents = Run.objects.live().select_for_update().filter(pk=run.parent_id)
    return parents.filter(sequence=run.parent_sequence - 1).first()


def record_removed_run(
    run: Run, *, by_name: str, reason: str, keeps_history: bool = False
) -> RemovedRun:
    """Insert the record of a deleted run, with its current chain heads."""
    heads = Run.objects.values("history_chain_head", "audit_chain_head").get(pk=run.pk)
    return RemovedRun.objects.create(
        id=run.pk,
        workflow_name=run.workflow_name,
        status=run.status,
        launched_by_name=run.launched_by.get_username() if run.launched_by else "",
        created_at=run.created_at,
        completed_at=run.completed_at,
        removed_by_name=by_name,
        reason=reason,
        keeps_history=keeps_history,
        **heads,
    )
