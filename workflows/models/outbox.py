"""The outbox: events that are to be reported, written in the transaction of what happened.

Rows of `OutboxEvent` are inserted by triggers (`workflows/outbox/triggers.py`), and only
where a row of `Interest` asks for them.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.destinations import Destination
from workflows.models.exact_json import ExactJSONField
from workflows.models.subscriptions import Subscription


class EventKind(models.TextChoices):
    """What happened. The values are part of the API: they are never renamed."""

    RUN_COMPLETED = "run.completed", "Run completed"
    RUN_FAILED = "run.failed", "Run failed"
    RUN_CANCELLED = "run.cancelled", "Run cancelled"
    APPROVAL_REQUESTED = "approval.requested", "Approval requested"
    APPROVAL_ANSWERED = "approval.answered", "Approval answered"
    APPROVAL_EXPIRED = "approval.expired", "Approval expired"
    APPROVAL_REASSIGNED = "approval.reassigned", "Approval reassigned"
    APPROVAL_ESCALATED = "approval.escalated", "Approval escalated"
    APPROVAL_REMINDED = "approval.reminded", "Reminder of an approval"
    SCHEDULE_MISSED = "schedule.missed", "Schedule launched nothing"
    EVENT_SENT = "event.sent", "Event sent"
    EVENT_RECEIVED = "event.received", "Event received"
    EVENT_EXPIRED = "event.expired", "Wait for an event expired"
    CALLBACK_RECEIVED = "callback.received", "Callback received"
    CALLBACK_EXPIRED = "callback.expired", "Callback expired"
    LAUNCH_REFUSED = "launch.refused", "Launch refused by a limit"
    WORKFLOW_PAUSED = "workflow.paused", "Workflow paused"
    WORKFLOW_UNPAUSED = "workflow.unpaused", "Workflow unpaused"
    ALERT_RAISED = "alert.raised", "Alert raised"
    ALERT_CLEARED = "alert.cleared", "Alert cleared"


class OutboxEvent(models.Model):
    """An event, with attributes of its run at that time in `facts`."""

    kind = models.CharField(max_length=40, choices=EventKind.choices)
    workflow_name = models.CharField(max_length=100)
    run_id = models.UUIDField(null=True)  # the run may have been deleted
    facts = ExactJSONField(default=dict)  # such as attempt and sequence of the run
    created_at = models.DateTimeField(default=timezone.now)
    expanded_at = models.DateTimeField(null=True)  # its deliveries have been created

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # the next events to expand, in order
            models.Index(
                fields=["id"],
                condition=Q(expanded_at__isnull=True),
                name="outbox_not_expanded",
            ),
            models.Index(fields=["created_at"], name="outbox_by_age"),  # retention
        ]

    def __str__(self) -> str:
        """Return the kind and the id."""
        return f"{self.kind} {self.pk}"


class Interest(models.Model):
    """A kind of event that a destination or a person wants: of one workflow or run, or all."""

    destination = models.ForeignKey(
        Destination, null=True, on_delete=models.CASCADE, related_name="interests"
    )
    subscription = models.ForeignKey(
        Subscription, null=True, on_delete=models.CASCADE, related_name="interests"
    )
    kind = models.CharField(max_length=40, blank=True, default="")  # "": all
    workflow_name = models.CharField(max_length=100, blank=True, default="")  # "": all
    run_id = models.UUIDField(null=True)  # null: all

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(destination=None, subscription__isnull=False)
                | Q(destination__isnull=False, subscription=None),
                name="interest_of_one",
            )
        ]
        indexes: ClassVar = [
            # the triggers: whether a destination or person wants an event
            models.Index(fields=["kind", "workflow_name", "run_id"], name="interest_in")
        ]

    def __str__(self) -> str:
        """Return the kind and the workflow."""
        return f"{self.kind} {self.workflow_name}".rstrip()
