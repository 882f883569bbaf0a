"""Pinned runs: they and all their data are exempt from retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.audit import audit_events
from workflows.errors import InUse, InvalidStatus
from workflows.infra import notifications
from workflows.models import GoldenRun, Run

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


def set_pinned(
    run: Run, pinned: bool, *, by: AbstractBaseUser | None, reason: str
) -> None:
    """Pin or unpin a run; call it within a transaction.

    Raises InvalidStatus if that changes nothing, and InUse for a golden run.
    """
    if not pinned and GoldenRun.objects.filter(run=run).exists():
        raise InUse(f"Run {run.short_id} is golden: unmark it before you unpin it.")
    rows = Run.objects.filter(pk=run.pk, is_pinned=not pinned)
    if not rows.update(is_pinned=pinned):
        raise InvalidStatus(run, wanted="pinned twice" if pinned else "unpinned twice")
    changed = {"pinned": not pinned}, {"pinned": pinned}
    action = "pin" if pinned else "unpin"
    audit_events.record(
        run, action, by=by, reason=reason, after=run.status, changed=changed
    )
    notifications.changed_on_commit(run.pk)
