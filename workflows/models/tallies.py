"""Hourly counts of ended runs and evaluated edges.

Pages read these rows instead of the history, which grows without limit.
`execution/hourly_counts.py` computes them; they can be rebuilt, and are kept when runs are
deleted.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class RunTally(models.Model):
    """Number of runs of a workflow that ended in a status within an hour."""

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
        """Return the count."""
        return f"{self.count} {self.workflow_name} {self.status}"


class EdgeTally(models.Model):
    """Number of evaluations of an edge within an hour, by result."""

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
            # decisions page: edge shares of a workflow in a period
            models.Index(
                fields=["workflow_name", "hour"], name="edge_tally_by_workflow"
            ),
            # recount: replaces the rows of an hour
            models.Index(fields=["hour"], name="edge_tally_by_hour"),
        ]

    def __str__(self) -> str:
        """Return the count."""
        return f"{self.from_node} → {self.to_node}: {self.taken} of {self.taken + self.rejected}"


class Tally(models.Model):
    """Progress of the count; one row, updated by the worker that counts."""

    name = models.CharField(max_length=20, primary_key=True)
    counted_until = models.DateTimeField(null=True)  # earlier hours are final
    counted_at = models.DateTimeField(null=True)
    newest_rows = models.CharField(
        max_length=120, blank=True, default=""
    )  # ids of the last count
    next_at = models.DateTimeField()  # no count before

    def __str__(self) -> str:
        """Return the name."""
        return self.name
