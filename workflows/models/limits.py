"""What the limits of workflows need besides the runs themselves."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class LimitCheck(models.Model):
    """A time from which a pending run of a key may start; written by triggers of the runs.

    A trigger inserts a row when a run with a limit becomes pending or stops running
    (`outbox/triggers.py`). A claim deletes the rows that it has acted on. They are only
    inserted and deleted, so that transactions never wait for each other.
    """

    workflow_name = models.CharField(max_length=100)
    limit_key = models.CharField(max_length=200)
    due_at = models.FloatField()  # Unix time in seconds; 0 = now

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["due_at", "id"], name="limit_check_due"),
            models.Index(
                fields=["workflow_name", "limit_key"], name="limit_check_by_key"
            ),
        ]

    def __str__(self) -> str:
        """Return the workflow and the key."""
        return f"{self.workflow_name} {self.limit_key}"


class LimitStart(models.Model):
    """The first start of a run of a workflow with a limit per minute; kept for a minute.

    The row stays when the run is deleted: the start counts all the same.
    """

    workflow_name = models.CharField(max_length=100)
    limit_key = models.CharField(max_length=200)
    started_at = models.DateTimeField()  # by the database's clock
    run_id = models.UUIDField()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["workflow_name", "limit_key", "started_at"],
                name="limit_start_by_key",
            ),
            models.Index(fields=["started_at"], name="limit_start_by_age"),
        ]

    def __str__(self) -> str:
        """Return the workflow and the key."""
        return f"{self.workflow_name} {self.limit_key}"
