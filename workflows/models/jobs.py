"""One deed on many runs: what was asked for, and what became of each."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.runs import new_run_id


class ItemResult(models.TextChoices):
    """What became of the deed on one run."""

    OPEN = "", "Not yet"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"


class BulkJob(models.Model):
    """A deed that somebody asked for on several runs; workers do it, a few at a time."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    deed = models.CharField(max_length=20)
    label = models.CharField(max_length=40, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="bulk_jobs",
    )
    person_name = models.CharField(max_length=150)  # survives the account
    address = models.CharField(max_length=45, blank=True, default="")  # it came from
    total = models.PositiveIntegerField(default=0)  # runs
    done = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True)  # somebody wanted no more of it
    ended_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)  # then another takes it up

    class Meta:
        """Newest first; those under way are found at once."""

        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=Q(ended_at__isnull=True), name="job_under_way"
            )
        ]

    def __str__(self) -> str:
        """Return what it does to how many."""
        return f"{self.deed} {self.total} runs"

    @property
    def looked_at(self) -> int:
        """Return how many runs it has come to."""
        return self.done + self.refused

    @property
    def left(self) -> int:
        """Return how many runs it has not come to."""
        return self.total - self.looked_at


class BulkItem(models.Model):
    """One run of a job."""

    job = models.ForeignKey(
        BulkJob, on_delete=models.CASCADE, related_name="items", db_index=False
    )  # the unique constraint begins with it
    position = models.PositiveIntegerField()
    run_id = models.UUIDField()  # of a run that may be deleted by now
    workflow_name = models.CharField(max_length=100)
    was = models.CharField(max_length=10)  # the run's status when it was chosen
    result = models.CharField(
        max_length=7, choices=ItemResult.choices, blank=True, default=ItemResult.OPEN
    )
    text = models.TextField(blank=True, default="")  # what is said of it

    class Meta:
        """In the order they are done."""

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
        """Return the run's id and its result."""
        return f"{self.run_id} {self.result or 'open'}"

    @property
    def short_id(self) -> str:
        """Return the end of the run's id, as pages show it."""
        return self.run_id.hex[-8:]
