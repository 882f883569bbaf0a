"""Retention rules: how long the data, the rows and the history of runs are kept."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

DAYS = (MinValueValidator(1), MaxValueValidator(36_500))


class Retention(models.Model):
    """The rule of one workflow, or the default rule; days count from the end of a run."""

    workflow_name = models.CharField(
        "workflow",
        max_length=100,
        unique=True,
        blank=True,
        default="",
        help_text="Empty: all workflows without their own rule.",
    )
    content_days = models.PositiveIntegerField(
        "delete content of agent calls after (days)",
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Deletes stored prompts and answers of agents. Empty: with the data.",
    )
    payload_days = models.PositiveIntegerField(
        "delete data after (days)",
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Deletes parameters, results, states, decision values and logs."
        " Empty: never.",
    )
    run_days = models.PositiveIntegerField(
        "delete run after (days)",
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Deletes the run. Steps and decisions are kept. Empty: never.",
    )
    decision_days = models.PositiveIntegerField(
        "delete history after (days)",
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Deletes steps and decisions. The audit log is kept. Empty: never.",
    )

    class Meta:
        ordering: ClassVar = ["workflow_name"]
        verbose_name = "retention rule"

    def __str__(self) -> str:
        """Return the workflow of the rule."""
        return self.workflow_name or "all others"

    def clean(self) -> None:
        """Require content ≤ data ≤ run ≤ history days. Raises ValidationError."""
        if self.decision_days and not self.run_days:
            raise ValidationError(
                {
                    "run_days": "Required when history is deleted: history outlives its run."
                }
            )
        days = [self.content_days, self.payload_days, self.run_days, self.decision_days]
        periods = [period for period in days if period is not None]
        if periods != sorted(periods):
            raise ValidationError(
                "Content of agent calls is deleted first, then the data, the run, its"
                " history: the numbers of days must not decrease."
            )
