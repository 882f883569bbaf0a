"""How many runs ended and how often each edge was taken, by the hour.

History grows without end; these rows do not grow with it. They are counted from the
history by `execution/tally.py`, may be thrown away and counted again, and stay when runs
are deleted.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class RunTally(models.Model):
    """How many runs of a workflow ended in this way within an hour."""

    hour = models.DateTimeField()  # its beginning
    workflow_name = models.CharField(max_length=100)
    status = models.CharField(max_length=10)  # one of ENDED
    count = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["hour"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["hour", "workflow_name", "status"], name="run_tally_once"
            )
        ]

    def __str__(self) -> str:
        """Return what was counted."""
        return f"{self.count} {self.workflow_name} {self.status}"


class EdgeTally(models.Model):
    """How often an edge was evaluated within an hour, and what came of it."""

    hour = models.DateTimeField()  # its beginning
    workflow_name = models.CharField(max_length=100)
    from_node = models.CharField(max_length=200)
    to_node = models.CharField(max_length=200)
    edge_index = models.PositiveIntegerField()
    predicate_name = models.TextField(blank=True, default="")
    taken = models.PositiveIntegerField()
    rejected = models.PositiveIntegerField()
    by_people = models.PositiveIntegerField(default=0)  # of those taken

    class Meta:
        ordering: ClassVar = ["hour"]
        indexes: ClassVar = [
            # decisions page: one workflow's shares over a period
            models.Index(
                fields=["workflow_name", "hour"], name="edge_tally_by_workflow"
            ),
            # the count: what is counted again replaces what was
            models.Index(fields=["hour"], name="edge_tally_by_hour"),
        ]

    def __str__(self) -> str:
        """Return what was counted."""
        return f"{self.from_node} → {self.to_node}: {self.taken} of {self.taken + self.rejected}"


class Tally(models.Model):
    """Up to where the history has been counted; one row, moved by whoever counts."""

    name = models.CharField(max_length=20, primary_key=True)
    counted_until = models.DateTimeField(null=True)  # hours before it are closed
    counted_at = models.DateTimeField(null=True)
    seen = models.CharField(max_length=120, blank=True, default="")  # the newest rows
    next_at = models.DateTimeField()  # nobody counts before

    def __str__(self) -> str:
        """Return what is counted."""
        return self.name
