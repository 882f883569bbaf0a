"""How long what runs leave behind is kept."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

DAYS = (MinValueValidator(1), MaxValueValidator(36_500))


class Retention(models.Model):
    """The rule of one workflow, or of all that have none; days count from a run's end."""

    workflow_name = models.CharField(
        "workflow",
        max_length=100,
        unique=True,
        blank=True,
        default="",
        help_text="Empty: all workflows without a rule of their own.",
    )
    payload_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Then params, results, states, values that were read, and logs go."
        " Empty: never.",
    )
    run_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Then the run goes. Its stages and decisions stay. Empty: never.",
    )
    decision_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=DAYS,
        help_text="Then stages and decisions go. What people did stays. Empty: never.",
    )

    class Meta:
        ordering: ClassVar = ["workflow_name"]
        verbose_name = "retention rule"

    def __str__(self) -> str:
        """Return whose rule it is."""
        return self.workflow_name or "all others"

    def clean(self) -> None:
        """Refuse an order in which something would go before what it needs."""
        if self.decision_days and not self.run_days:
            raise ValidationError(
                {"run_days": "Decisions go after their run: say when it goes."}
            )
        days = [self.payload_days, self.run_days, self.decision_days]
        told = [one for one in days if one is not None]
        if told != sorted(told):
            raise ValidationError(
                "Payloads go first, runs later, decisions last: give growing numbers."
            )
