"""Schedules, and the outcome of each of their moments."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import new_run_id


class Overlap(models.TextChoices):
    """What happens at a moment while an earlier run of the schedule has not ended."""

    SKIP = "skip", "Skip the new run"
    QUEUE = "queue", "Launch it when the earlier run has ended"
    REPLACE = "replace", "Cancel the earlier run, then launch"
    ALLOW = "allow", "Launch it beside the earlier run"


class CatchUp(models.TextChoices):
    """Which moments are made up for that passed while no worker was running."""

    NONE = "none", "None"
    LAST = "last", "The last one"
    ALL = "all", "All of them"


class Schedule(models.Model):
    """A workflow that is launched at the times of a cron expression.

    Its runs are launched by its owner: the person who created it or last changed it.
    """

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    workflow_name = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    cron = models.CharField(max_length=100)  # five fields
    zone = models.CharField(max_length=60)  # IANA name
    params = ExactJSONField(default=dict)
    profile = models.CharField(max_length=60, null=True)  # noqa: DJ001 - null: by weight
    priority = models.SmallIntegerField(default=0)
    overlap = models.CharField(
        max_length=8, choices=Overlap.choices, default=Overlap.SKIP
    )
    catch_up = models.CharField(
        max_length=8, choices=CatchUp.choices, default=CatchUp.LAST
    )
    jitter_seconds = models.PositiveIntegerField(
        default=0
    )  # a moment's own delay is fixed
    ends_at = models.DateTimeField(null=True)  # no moment at or after
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="schedules",
    )
    owner_name = models.CharField(max_length=150)  # survives the account
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    paused_at = models.DateTimeField(null=True)
    paused_by_name = models.CharField(max_length=150, blank=True, default="")
    pause_reason = models.TextField(blank=True, default="")
    # The next moment, and when it is processed: later by its jitter. Null: none follows.
    next_moment = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["workflow_name", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "name"], name="schedule_name_once"
            ),
            models.CheckConstraint(
                condition=Q(next_moment=None, due_at=None)
                | Q(next_moment__isnull=False, due_at__isnull=False),
                name="schedule_due_with_moment",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False),
                name="schedule_due",
            )
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    @property
    def is_paused(self) -> bool:
        """Return whether the schedule is paused."""
        return self.paused_at is not None


class MomentResult(models.TextChoices):
    """The outcome of a moment of a schedule."""

    LAUNCHED = "launched", "Launched"
    QUEUED = "queued", "Waits for the earlier run"
    SKIPPED = "skipped", "Skipped"
    MISSED = "missed", "Missed"  # no worker was running
    REFUSED = "refused", "Not launched"  # by System: the reason is in `message`


class ScheduleMoment(models.Model):
    """A moment of a schedule that has been processed, or waits for the earlier run."""

    schedule = models.ForeignKey(
        Schedule, on_delete=models.CASCADE, related_name="moments", db_index=False
    )  # the unique constraint begins with it
    moment = models.DateTimeField()
    result = models.CharField(max_length=8, choices=MomentResult.choices)
    is_backfill = models.BooleanField(default=False)
    run_id = models.UUIDField(null=True)  # the run may have been deleted
    message = models.TextField(blank=True, default="")
    processed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-moment"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["schedule", "moment"], name="moment_once_per_schedule"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["schedule", "moment"],
                condition=Q(result=MomentResult.QUEUED),
                name="moment_queued",
            ),
            models.Index(
                fields=["run_id"], condition=Q(run_id__isnull=False), name="moment_run"
            ),
        ]

    def __str__(self) -> str:
        """Return the moment and its result."""
        return f"{self.moment.isoformat()} {self.result}"

    @property
    def key(self) -> str:
        """Return the idempotency key of the run: one run per moment, by any worker."""
        schedule_id: uuid.UUID = self.schedule_id
        return f"schedule {schedule_id.hex} {self.moment.isoformat()}"
