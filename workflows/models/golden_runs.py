"""Golden runs: runs whose path and result later versions of their workflow have to repeat."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run

MAX_DATASET_LENGTH: Final = 60  # characters
DEFAULT_DATASET: Final = "main"


class GoldenOutcome(models.TextChoices):
    """What came of a rerun of a golden run."""

    SAME = "same", "Same"
    DIFFERENT = "different", "Different"
    UNKNOWN = "unknown", "Not compared"  # it could not be rerun: `message` says why


class AnswerSource(models.TextChoices):
    """Where the answers of agents in a rerun came from."""

    RECORDED = "recorded", "Recorded answers"
    REAL = "real", "Real answers"


class GoldenRun(models.Model):
    """A run that is marked golden, and what of it matters.

    What is expected is read from the rows of the run: its status, its path (the nodes and the
    edges taken) and fields of its result. The run is pinned, so that retention keeps them.
    """

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="golden"
    )
    workflow_name = models.CharField(max_length=100)  # that of the run
    dataset = models.CharField(max_length=MAX_DATASET_LENGTH, default=DEFAULT_DATASET)
    checks_path = models.BooleanField(default=True)
    # [{"field": "total.net", "tolerance": 0.01}]: keys joined by dots; the tolerance is the
    # largest difference of a number that is accepted, null = none
    fields = ExactJSONField(default=list)
    reason = models.TextField(blank=True, default="")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    person_name = models.CharField(max_length=150)  # survives the account
    created_at = models.DateTimeField(default=timezone.now)
    was_pinned = models.BooleanField(default=False)  # before it was marked

    class Meta:
        ordering: ClassVar = ["run_id"]
        indexes: ClassVar = [
            # `manage.py golden`, and the page of golden runs
            models.Index(
                fields=["workflow_name", "dataset", "run"], name="golden_by_dataset"
            )
        ]

    def __str__(self) -> str:
        """Return the dataset and the run."""
        return f"{self.dataset}: {self.run_id}"


class GoldenResult(models.Model):
    """The last comparison of a golden run with a rerun by a profile."""

    golden = models.ForeignKey(
        GoldenRun, on_delete=models.CASCADE, related_name="results", db_index=False
    )  # the unique constraint begins with it
    profile_name = models.CharField(max_length=60, blank=True, default="")  # "": none
    answers = models.CharField(max_length=8, choices=AnswerSource.choices)
    outcome = models.CharField(max_length=9, choices=GoldenOutcome.choices)
    # [{"kind", "step", "node", "field", "expected", "found", "tolerance"}]: data of the run
    differences = ExactJSONField(default=list)
    message = models.TextField(blank=True, default="")
    fingerprint = models.CharField(max_length=64)  # of the workflow at that time
    duration_ms = models.FloatField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["golden", "profile_name", "answers"], name="golden_result_once"
            ),
            models.CheckConstraint(
                condition=models.Q(outcome__in=GoldenOutcome.values),
                name="golden_outcome_known",
            ),
        ]

    def __str__(self) -> str:
        """Return the outcome."""
        return str(self.get_outcome_display())
