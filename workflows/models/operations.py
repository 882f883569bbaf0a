"""Who works, and what people did: workers and interventions."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.runs import Run


class Worker(models.Model):
    """A process that runs runs; alive while its heartbeat is fresh."""

    name = models.CharField(max_length=200, unique=True)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    capacity = models.PositiveIntegerField()  # runs at once
    running = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True)  # said goodbye; null = alive or lost

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        """Return the name it was started with."""
        return self.name


class Intervention(models.Model):
    """One thing a person did to a run: appended, never edited, kept after the run."""

    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)  # survives the account
    action = models.CharField(max_length=30)
    run = models.ForeignKey(
        Run,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="interventions",
    )
    reason = models.TextField(blank=True, default="")
    status_before = models.CharField(max_length=10, blank=True, default="")
    status_after = models.CharField(max_length=10, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        """Return who did what."""
        return f"{self.actor_name}: {self.action}"


class Note(models.Model):
    """What somebody wants others to know about a run: appended, never edited."""

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
        """Return who wrote it."""
        return f"note of {self.author_name}"
