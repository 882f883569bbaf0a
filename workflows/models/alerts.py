"""Alert rules: a limit for a value of a workflow, and the times at which it was exceeded."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.runs import new_run_id


class AlertMetric(models.TextChoices):
    """The value of a workflow that a rule limits."""

    FAILED_SHARE = "failed_share", "Share of failed runs"  # 0..1, of failed + completed
    EDGE_SHARE = (
        "edge_share",
        "Share of an edge",
    )  # 0..1, of the edges taken at its node
    COST = "cost", "Cost of agents"  # in CURRENCY
    PERSON_COST = "person_cost", "Cost of agents of one person"  # of the highest
    PENDING_AGE = "pending_age", "Age of the oldest pending run"  # minutes


class AlertRule(models.Model):
    """A limit. It is raised above `raise_above`, and cleared at or below `clear_at`."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    workflow_name = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    metric = models.CharField(max_length=12, choices=AlertMetric.choices)
    from_node = models.CharField(max_length=200, blank=True, default="")  # of the edge
    to_node = models.CharField(max_length=200, blank=True, default="")
    raise_above = models.FloatField()
    clear_at = models.FloatField()
    window_minutes = models.PositiveIntegerField(default=60)
    min_count = models.PositiveIntegerField(
        default=1
    )  # runs, or evaluations, of a share
    owner_name = models.CharField(max_length=150)  # who created or last changed it
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    raised_at = models.DateTimeField(null=True)  # null: not raised
    value = models.FloatField(null=True)  # at the last evaluation; null: no data
    evaluated_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["workflow_name", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "name"], name="alert_name_once"
            ),
            models.CheckConstraint(
                condition=Q(metric__in=AlertMetric.values), name="alert_metric_known"
            ),
            models.CheckConstraint(
                condition=Q(clear_at__lte=models.F("raise_above")),
                name="alert_clears_below",
            ),
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    @property
    def is_raised(self) -> bool:
        """Return whether the limit is exceeded."""
        return self.raised_at is not None


class AlertIncident(models.Model):
    """One time that a limit was exceeded."""

    rule = models.ForeignKey(
        AlertRule, on_delete=models.CASCADE, related_name="incidents"
    )
    raised_at = models.DateTimeField()
    raised_value = models.FloatField()
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["rule"],
                condition=Q(cleared_at=None),
                name="incident_open_once_per_rule",
            )
        ]

    def __str__(self) -> str:
        """Return the time."""
        return self.raised_at.isoformat()
