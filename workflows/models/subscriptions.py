"""What people follow, and the notifications that they got."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.labels import SavedView


class Followed(models.TextChoices):
    """What a subscription is about."""

    RUN = "run", "A run"
    WORKFLOW = "workflow", "A workflow"
    VIEW = "view", "A saved view"
    APPROVALS = "approvals", "Approvals for me"
    FAILURES = "failures", "Failures"


class Mail(models.TextChoices):
    """Whether notifications are sent by mail as well."""

    NONE = "none", "No mail"
    EACH = "each", "A mail for each"
    DAILY = "daily", "One mail a day"


class Chat(models.TextChoices):
    """Whether notifications are sent to the person's chat as well."""

    NONE = "none", "No message"
    EACH = "each", "A message for each"


class Subscription(models.Model):
    """A person's wish to be notified of what happens to something."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="subscriptions",
        db_index=False,  # the unique constraint begins with it
    )
    kind = models.CharField(max_length=10, choices=Followed.choices)
    # the id of the run, the name of the workflow, the id of the view, or ""
    target = models.CharField(max_length=100, blank=True, default="")
    view = models.ForeignKey(
        SavedView, null=True, on_delete=models.CASCADE, related_name="+"
    )
    mail = models.CharField(max_length=5, choices=Mail.choices, default=Mail.NONE)
    chat = models.CharField(
        max_length=5, choices=Chat.choices, default=Chat.NONE, db_default=Chat.NONE
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "kind", "target"], name="subscription_once"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=Followed.values), name="subscription_kind_known"
            ),
        ]
        indexes: ClassVar = [
            # expansion of an event: who follows this?
            models.Index(fields=["kind", "target"], name="subscription_to")
        ]

    def __str__(self) -> str:
        """Return the kind and the target."""
        return f"{self.kind} {self.target}".rstrip()


class Notification(models.Model):
    """An event that a person was notified of; its text is made when it is shown."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notifications",
        db_index=False,  # the unique constraint begins with it
    )
    event_id = models.BigIntegerField()  # of the outbox
    kind = models.CharField(max_length=40)
    workflow_name = models.CharField(max_length=100)
    run_id = models.UUIDField(null=True)
    facts = ExactJSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True)
    is_for_digest = models.BooleanField(default=False)  # until the mail of the day

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "event_id"], name="notification_once_per_event"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["user", "-id"], name="notification_by_user"),
            # the count in the header of each page
            models.Index(
                fields=["user"],
                condition=Q(read_at__isnull=True),
                name="notification_unread",
            ),
            models.Index(
                fields=["user"],
                condition=Q(is_for_digest=True),
                name="notification_for_digest",
            ),
            models.Index(fields=["created_at"], name="notification_by_age"),
        ]

    def __str__(self) -> str:
        """Return the kind and the workflow."""
        return f"{self.kind} {self.workflow_name}"
