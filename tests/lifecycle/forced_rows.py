"""Changes rows of runs directly, to the state in which a crashed process leaves them."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.utils import timezone

from workflows.models import ENDED, Run, Status

DEAD_WORKER = "a crashed process"


def force_status(run_id: UUID, status: str) -> None:
    """Write a status and the columns that the constraints of the table require with it.

    A running run has the lease of a process that no longer renews it. A run that has not
    ended has no result.
    """
    now = timezone.now()
    changes: dict[str, Any] = {"status": status, "lease_expires_at": None}
    if status not in ENDED:
        changes["result"] = None
    changes["completed_at"] = now if status in ENDED else None
    if status == Status.RUNNING:
        changes |= {
            "worker": DEAD_WORKER,
            "lease_expires_at": now + dt.timedelta(hours=1),
        }
    Run.objects.filter(pk=run_id).update(**changes)


def force_workflow(run_id: UUID, name: str) -> None:
    """Change the name of a run's workflow."""
    Run.objects.filter(pk=run_id).update(workflow_name=name)


def expire_lease(run_id: UUID) -> None:
    """Expire the lease of the crashed process."""
    past = timezone.now() - dt.timedelta(seconds=1)
    orphans = Run.objects.filter(pk=run_id, worker=DEAD_WORKER, status=Status.RUNNING)
    orphans.update(lease_expires_at=past)


def is_orphan(run: Run) -> bool:
    """Return whether a run is running without a live worker."""
    return run.status == Status.RUNNING and run.worker == DEAD_WORKER
