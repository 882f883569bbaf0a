"""Profiles: named prompt settings of a workflow. Budgets: spending limits of runs."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.agents import NAME
from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run


class Profile(models.Model):
    """Overrides of agent, prompt or options for some prompts of one workflow."""

    workflow_name = models.CharField(max_length=100)
    name = models.CharField(max_length=60, validators=[NAME])
    description = models.TextField(blank=True, default="")
    # stage → the fields that differ from the workflow's: agent, prompt, options
    stages = ExactJSONField(blank=True, default=dict)
    # share of the runs launched without choosing a profile; 0 = none
    weight = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(1_000_000)]
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["workflow_name", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "name"], name="profile_name_once"
            )
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Scope(models.TextChoices):
    """The calls that a budget adds up."""

    RUN = "run", "Per run"
    WORKFLOW = "workflow", "Per workflow (lifetime)"
    DAY = "day", "Per day"
    PERSON = "person", "Per person and month"
    PERSON_DAY = "person_day", "Per person and day"


PERSONAL: Final = (Scope.PERSON, Scope.PERSON_DAY)


class Budget(models.Model):
    """A spending limit: when reached, the run waits for an approval and does not fail."""

    name = models.CharField(max_length=60, unique=True, validators=[NAME])
    scope = models.CharField(max_length=10, choices=Scope.choices)
    workflow_name = models.CharField(  # "" = every workflow
        max_length=100, blank=True, default=""
    )
    person = models.ForeignKey(  # of a budget per person; null = each one
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
    )
    tokens = models.PositiveBigIntegerField(  # in and out together; null = any
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    cost = models.DecimalField(  # null = any
        max_digits=14,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
    )
    groups = models.JSONField(blank=True, default=list)  # who may raise it; [] = any
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(tokens__isnull=False) | Q(cost__isnull=False),
                name="budget_limits_something",
            ),
            models.CheckConstraint(
                condition=Q(scope__in=Scope.values), name="budget_scope_known"
            ),
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def clean(self) -> None:
        """Require at least one limit, a person only per person. Raises ValidationError."""
        if self.tokens is None and self.cost is None:
            raise ValidationError("Limit the tokens, the money, or both.")
        if self.person_id is not None and self.scope not in PERSONAL:
            message = "Only a budget per person can be that of one person."
            raise ValidationError({"person": message})


class BudgetRaise(models.Model):
    """An increase granted by a person, for the run, workflow, person or day of the budget."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="raises")
    run = models.ForeignKey(  # that waited for the approval
        Run, null=True, on_delete=models.SET_NULL, related_name="budget_raises"
    )
    workflow_name = models.CharField(max_length=100, blank=True, default="")
    person = models.ForeignKey(  # who paid for the run
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    day = models.DateField()
    tokens = models.PositiveBigIntegerField(default=0)
    cost = models.DecimalField(max_digits=14, decimal_places=4, default=0)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    by_name = models.CharField(max_length=150)  # survives the account
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return the budget."""
        return f"increase of {self.budget}"
