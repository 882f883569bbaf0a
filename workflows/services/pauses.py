"""Pauses of workflows: no run of a paused workflow starts; those that have started continue.

The claim reads the pauses (`execution/sql`). A pause waits for the claims in progress before
its commit, so that no run starts after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import PauseUnchanged
from workflows.execution import limited_claims, sql
from workflows.infra import clock, notifications
from workflows.models import WorkflowPause

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, User
    from django.db.models import QuerySet

    from workflows.models import Run


def pause(name: str, *, by: AbstractBaseUser | None, reason: str) -> WorkflowPause:
    """Pause a workflow; no run of it starts after this returns. Raises PauseUnchanged."""
    with transaction.atomic():
        row, is_new = WorkflowPause.objects.get_or_create(
            workflow_name=name,
            defaults={
                "reason": reason,
                "paused_by_name": by.get_username() if by else "system",
                "paused_at": clock.now(),
            },
        )
        if not is_new:
            raise PauseUnchanged(f"“{name}” is paused already.")
        _record("pause workflow", name, by=by, reason=reason)
        sql.driver().wait_for_claims()
    return row


def unpause(name: str, *, by: AbstractBaseUser | None) -> None:
    """End the pause of a workflow; workers claim its pending runs. Raises PauseUnchanged."""
    with transaction.atomic():
        if not WorkflowPause.objects.filter(pk=name).delete()[0]:
            raise PauseUnchanged(f"“{name}” is not paused.")
        _record("unpause workflow", name, by=by)
        limited_claims.check_again(name)
        notifications.pending_on_commit()


def _record(
    action: str, name: str, *, by: AbstractBaseUser | None, reason: str = ""
) -> None:
    text = f"{name}: {reason}" if reason else name
    audit_events.note(action, by=by, reason=text, workflow=name)
    notifications.lists_changed_on_commit()


def visible_pauses(person: User) -> QuerySet[WorkflowPause]:
    """Return the pauses of the workflows that a person may see."""
    return permissions.visible(person, WorkflowPause.objects.all())


def pause_of(run: Run) -> WorkflowPause | None:
    """Return the pause that keeps a pending run from starting, None if there is none."""
    if run.attempt or run.closing is not None:
        return None  # it has started
    return WorkflowPause.objects.filter(pk=run.workflow_name).first()
