"""Labels of runs, and saved views of the run list."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.runs import Run

MAX_LABEL_LENGTH = 40  # characters
MAX_NAME_LENGTH = 60  # characters of a view's name


class RunLabel(models.Model):
    """A label of a run; all people see the same labels."""

    run = models.ForeignKey(
        Run,
        on_delete=models.CASCADE,
        related_name="labels",
        db_index=False,  # label_once begins with it
    )
    name = models.CharField(max_length=MAX_LABEL_LENGTH)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name"], name="label_once")
        ]
        indexes: ClassVar = [
            # runs page: the runs with a label, newest first
            models.Index(fields=["name", "-run"], name="label_by_name")
        ]

    def __str__(self) -> str:
        """Return the label."""
        return self.name


class SavedView(models.Model):
    """Named filters and columns of the run list; shared ones are visible to all users."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views"
    )
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    query = models.TextField(blank=True, default="")  # as in the list's address
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="view_name_once")
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name
