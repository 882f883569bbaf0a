"""What a script puts into a row by force, as a process that died would have left it."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.utils import timezone

from workflows.models import ENDED, Run, Status

GONE = "a process that is gone"


def force_status(run_id: UUID, status: str) -> None:
    """Write a status, with the columns that our constraints want to go with it.

    A running run has a lease: that of a process that does not renew it any more. One that
    has not ended has no result.
    """
    now = timezone.now()
    changes: dict[str, Any] = {"status": status, "lease_expires_at": None}
    if status not in ENDED:
        changes["result"] = None
    changes["completed_at"] = now if status in ENDED else None
    if status == Status.RUNNING:
        changes |= {"worker": GONE, "lease_expires_at": now + dt.timedelta(hours=1)}
    Run.objects.filter(pk=run_id).update(**changes)


def force_workflow(run_id: UUID, name: str) -> None:
    """Write another workflow's name."""
    Run.objects.filter(pk=run_id).update(workflow_name=name)


def let_lease_end(run_id: UUID) -> None:
    """Let the time pass in which the process that is gone could have come back."""
    past = timezone.now() - dt.timedelta(seconds=1)
    orphans = Run.objects.filter(pk=run_id, worker=GONE, status=Status.RUNNING)
    orphans.update(lease_expires_at=past)


def is_orphan(run: Run) -> bool:
    """Return whether no one executes a running run."""
    return run.status == Status.RUNNING and run.worker == GONE
