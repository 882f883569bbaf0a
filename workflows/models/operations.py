"""Workers, audit events, deleted runs, chain heads and notes."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.runs import Run

RENAMED_ACTIONS: Final = {
    "run again": "rerun",
    "keep": "pin",
    "keep no longer": "unpin",
    "answer": "respond",
    "give rights": "grant permission",
    "take rights": "revoke permission",
    "stop job": "cancel job",
    "remove payload": "purge data",
    "remove run": "purge run",
    "remove history": "purge history",
}
"""Old → current name of audit actions. Sealed rows keep the name they were stored with."""


def current_action(stored: str) -> str:
    """Return the current name of a stored audit action."""
    return RENAMED_ACTIONS.get(stored, stored)


def stored_actions(*names: str) -> frozenset[str]:
    """Return the names with which audit actions may be stored: current and old ones."""
    old = {old for old, new in RENAMED_ACTIONS.items() if new in names}
    return frozenset(names) | old


class Worker(models.Model):
    """A worker process; alive while its heartbeat is recent."""

    name = models.CharField(max_length=200, unique=True)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    capacity = models.PositiveIntegerField()  # runs at once
    running = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True)  # clean shutdown; null = alive or lost
    # Author code that holds it up: {"kind", "run": id or "", "node", "since": ISO time}.
    # Kinds: "loop" blocks the node loop now, "abandoned" blocks one that was replaced,
    # "thread" is a sync node that ignores its timeout or cancellation.
    holds = models.JSONField(default=list, db_default=[])

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class AuditEvent(models.Model):
    """An action of a person or an API client: append-only, sealed, outlives its run."""

    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_key = models.BigIntegerField(
        null=True
    )  # the actor's id; survives the account
    actor_name = models.CharField(max_length=150)  # survives the account
    address = models.CharField(max_length=45, blank=True, default="")  # "" = a command
    # the API token with which the actor's program did it; "" = the actor in person
    token_name = models.CharField(max_length=60, blank=True, default="", db_default="")
    action = models.CharField(max_length=30)
    run = models.ForeignKey(
        Run,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="audit_events",
    )
    workflow_name = models.CharField(
        max_length=100, blank=True, default=""
    )  # the run's
    reason = models.TextField(blank=True, default="")
    status_before = models.CharField(max_length=10, blank=True, default="")
    status_after = models.CharField(max_length=10, blank=True, default="")
    before = models.JSONField(null=True)  # further changes: name → value
    after = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    seal = models.BinaryField(null=True)  # audit/seals.py

    class Meta:
        verbose_name = "audit event"
        verbose_name_plural = "audit log"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # audit page, newest first: by person, by action, by workflow
            models.Index(fields=["actor_name", "-id"], name="audit_event_by_actor"),
            models.Index(fields=["action", "-id"], name="audit_event_by_action"),
            models.Index(
                fields=["workflow_name", "-id"], name="audit_event_by_workflow"
            ),
        ]

    def __str__(self) -> str:
        """Return the actor and the action."""
        return f"{self.actor_name}: {self.action_name}"

    @property
    def action_name(self) -> str:
        """Return the current name of the action; `action` may be an old, sealed one."""
        return current_action(self.action)


class RemovedRun(models.Model):
    """The record of a deleted run: its key fields, who deleted it, and its chain heads."""

    id = models.UUIDField(primary_key=True, editable=False)  # that of the run
    workflow_name = models.CharField(max_length=100)
    status = models.CharField(max_length=10)
    launched_by_name = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(default=timezone.now)
    removed_by_name = models.CharField(max_length=150)
    reason = models.TextField(blank=True, default="")
    # Stages and decisions still exist: retention deletes them later.
    keeps_history = models.BooleanField(default=False)
    history_chain_head = models.BinaryField(null=True)
    audit_chain_head = models.BinaryField(null=True)  # its audit events are kept

    class Meta:
        verbose_name = "deleted run"
        ordering: ClassVar = ["-removed_at"]
        indexes: ClassVar = [
            # retention: histories kept longer than their runs
            models.Index(
                fields=["workflow_name", "completed_at"],
                condition=Q(keeps_history=True),
                name="removed_with_history",
            )
        ]

    def __str__(self) -> str:
        """Return the workflow's name and the end of the id."""
        return f"{self.workflow_name} {self.id.hex[-8:]}"


class HistoryHead(models.Model):
    """A chain head that belongs to no run."""

    name = models.CharField(max_length=20, primary_key=True)
    head = models.BinaryField()  # audit/seals.py
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        """Return the name of the chain."""
        return self.name


class Note(models.Model):
    """A comment on a run: append-only."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    author_name = models.CharField(max_length=150)  # survives the account
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return the author."""
        return f"note of {self.author_name}"
