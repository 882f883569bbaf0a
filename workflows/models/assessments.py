"""Assessments: whether a run or a decision was right, in the opinion of a person."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.runs import Run

WHOLE_RUN: Final = 0  # in place of the number of a step


class Assessment(models.Model):
    """The last assessment of a run, or of the edge taken after a step.

    Earlier ones are in the audit log.
    """

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="assessments", db_index=False
    )  # the unique constraint begins with it
    workflow_name = models.CharField(max_length=100)  # that of the run
    sequence = models.PositiveIntegerField(default=WHOLE_RUN)
    # the edge; "" for the whole run
    from_node = models.CharField(max_length=200, blank=True, default="")
    to_node = models.CharField(max_length=200, blank=True, default="")
    is_right = models.BooleanField()
    note = models.TextField(blank=True, default="")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    person_name = models.CharField(max_length=150)  # survives the account
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["sequence"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "sequence"], name="assessment_once_per_step"
            )
        ]
        indexes: ClassVar = [
            # accuracy of a workflow, by edge, profile and time
            models.Index(
                fields=["workflow_name", "created_at"], name="assessment_by_workflow"
            )
        ]

    def __str__(self) -> str:
        """Return the assessment."""
        return "right" if self.is_right else "wrong"
