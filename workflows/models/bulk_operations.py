"""Bulk operations: one action on many runs, or many launches, with a result for each."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import new_run_id


class ItemResult(models.TextChoices):
    """Result of the action on one run."""

    OPEN = "", "Pending"
    DONE = "done", "Succeeded"
    REFUSED = "refused", "Skipped"


class BulkJob(models.Model):
    """An action requested on many runs, or a batch of launches; workers process it."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    action = models.CharField(max_length=20)
    label = models.CharField(max_length=40, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    # Of a batch of launches: the workflow, and "profile" and "priority" of the runs.
    workflow_name = models.CharField(
        max_length=100, blank=True, default="", db_default=""
    )
    options = models.JSONField(default=dict, db_default={})
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="bulk_jobs",
    )
    person_name = models.CharField(max_length=150)  # survives the account
    address = models.CharField(max_length=45, blank=True, default="")  # of the request
    total = models.PositiveIntegerField(default=0)  # runs
    done = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    cancelled_at = models.DateTimeField(null=True)  # by a person
    ended_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)  # another worker continues then

    class Meta:
        verbose_name = "bulk operation"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=Q(ended_at__isnull=True), name="job_under_way"
            )
        ]

    def __str__(self) -> str:
        """Return the action and the number of runs."""
        return f"{self.action} {self.total} runs"

    @property
    def processed(self) -> int:
        """Return the number of runs processed."""
        return self.done + self.refused

    @property
    def remaining(self) -> int:
        """Return the number of runs not processed yet."""
        return self.total - self.processed


class BulkItem(models.Model):
    """One run of a bulk operation, or one row of a batch of launches."""

    job = models.ForeignKey(
        BulkJob, on_delete=models.CASCADE, related_name="items", db_index=False
    )  # the unique constraint begins with it
    position = models.PositiveIntegerField()
    # The run may have been deleted; null: a row that has not launched one.
    run_id = models.UUIDField(null=True)
    params = ExactJSONField(null=True)  # of a row that is not processed yet
    workflow_name = models.CharField(max_length=100)
    status_before = models.CharField(max_length=10)  # of the run, when selected
    result = models.CharField(
        max_length=7, choices=ItemResult.choices, blank=True, default=ItemResult.OPEN
    )
    text = models.TextField(blank=True, default="")  # message shown for the run

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "position"], name="item_once_a_job")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["job", "position"], condition=Q(result=""), name="item_open"
            )
        ]

    def __str__(self) -> str:
        """Return the run id and the result."""
        return f"{self.run_id or self.position} {self.result or 'open'}"

    @property
    def short_id(self) -> str:
        """Return the last eight hex digits of the run id, "" without a run."""
        return self.run_id.hex[-8:] if self.run_id else ""
