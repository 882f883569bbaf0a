"""Paused workflows: the claim starts no run of a workflow that has a row here."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

# A run that continues although its workflow is paused: it has started before, or its end is
# decided and its undo nodes and its node at the end follow. Also the condition of the index.
CONTINUES = Q(attempt__gt=0) | Q(closing__isnull=False)


class WorkflowPause(models.Model):
    """A paused workflow. Its runs that have started continue, the others stay pending."""

    workflow_name = models.CharField(max_length=100, primary_key=True)
    reason = models.TextField(blank=True, default="")  # hidden data, like other reasons
    paused_by_name = models.CharField(max_length=150)  # survives the account
    paused_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["workflow_name"]
        verbose_name = "paused workflow"

    def __str__(self) -> str:
        """Return the name of the workflow."""
        return self.workflow_name
