"""Waits between the tries of a node: time, length and the preceding error."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from workflows.models.runs import Run


class Retry(models.Model):
    """A failed try that is followed by another: its error, and the wait."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="retries", db_index=False
    )
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()  # of the stage
    number = models.PositiveIntegerField()  # of the try that failed, from 1
    wait_seconds = models.FloatField()  # until the next try begins
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["attempt", "sequence", "number"]
        verbose_name_plural = "retries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "attempt", "sequence", "number"], name="retry_once"
            )
        ]

    def __str__(self) -> str:
        """Return which try failed."""
        return f"try {self.number} of step {self.sequence}"

    @property
    def wait_ms(self) -> float:
        """Return the wait in milliseconds."""
        return self.wait_seconds * 1000
