"""Removing a run: it goes with its history; who removed it and why stays, sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.audit import trail
from workflows.errors import InvalidStatus, StillNeeded
from workflows.models import RemovedRun, Run

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


def delete(run: Run, *, by: AbstractBaseUser | None, reason: str) -> None:
    """Delete an ended run; call it within a transaction.

    Raises InvalidStatus, and StillNeeded while its parent may read how it ended: without
    that, the parent would launch it once more.
    """
    locked = Run.objects.select_for_update().filter(pk=run.pk)
    if not locked.exclude(pk__in=Run.objects.live()).exists():
        raise InvalidStatus(run, wanted="deleted; cancel it first")
    parent = _waiting_parent(run)
    if parent is not None:
        raise StillNeeded(
            f"Run {run.short_id} cannot be deleted yet: run {parent.short_id} has not read"
            " how it ended."
        )
    deed = trail.record(run, "delete", by=by, reason=reason)
    keep_what_is_left(run, by_name=deed.actor_name, reason=reason)
    run.stages.all().delete()
    run.decisions.all().delete()
    run.delete()


def _waiting_parent(run: Run) -> Run | None:
    """Return the parent that is under way and has yet to read how this run ended."""
    if run.parent_id is None or run.parent_sequence is None:
        return None
    parents = Run.objects.live().select_for_update().filter(pk=run.parent_id)
    return parents.filter(sequence=run.parent_sequence - 1).first()


def keep_what_is_left(
    run: Run, *, by_name: str, reason: str, keeps_history: bool = False
) -> RemovedRun:
    """Write down what a run was, with the heads of its chains as they are now."""
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
