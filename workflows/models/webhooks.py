"""Incoming webhooks: addresses that launch a workflow, and the deliveries they received."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import new_run_id

MAX_KEY_LENGTH: Final = 150  # characters of a delivery's key


class VerificationStyle(models.TextChoices):
    """How a sender proves that a delivery is its own."""

    STANDARD = "standard", "Standard Webhooks"
    GITHUB = "github", "GitHub (X-Hub-Signature-256)"
    STRIPE = "stripe", "Stripe (Stripe-Signature)"
    TOKEN = "token", "Shared token in a header"


class Deduplication(models.TextChoices):
    """What identifies a delivery that a sender repeats."""

    DELIVERY = "delivery", "Delivery ID of the sender"
    HEADER = "header", "A header"
    FIELD = "field", "A field of the payload"
    BODY = "body", "The content of the body"


class WebhookEndpoint(models.Model):
    """An address at which another system launches a workflow.

    Its runs are launched by its owner: a person or a service account.
    """

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    workflow_name = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    path = models.CharField(max_length=64)  # random; the last part of the address
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the path
    style = models.CharField(max_length=10, choices=VerificationStyle.choices)
    token_header = models.CharField(max_length=60, blank=True, default="")
    secrets = models.BinaryField()  # encrypted: "current" and "previous"
    previous_until = models.DateTimeField(null=True)  # the replaced secret is valid
    # [{"param": path, "source": "body", "header" or "constant", "value": …}]
    mapping = ExactJSONField(default=list)
    # [{"source": "body" or "header", "value": path, "values": [text, …]}], all must hold
    filters = ExactJSONField(default=list)
    deduplication = models.CharField(
        max_length=8, choices=Deduplication.choices, default=Deduplication.DELIVERY
    )
    deduplication_field = models.CharField(max_length=200, blank=True, default="")
    profile = models.CharField(max_length=60, null=True)  # noqa: DJ001 - null: by weight
    priority = models.SmallIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="webhooks",
    )
    owner_name = models.CharField(max_length=150)  # survives the account
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # Requests with an invalid signature are counted, not stored.
    rejected = models.PositiveIntegerField(default=0)
    rejected_at = models.DateTimeField(null=True)
    rejection = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        verbose_name = "incoming webhook"
        ordering: ClassVar = ["workflow_name", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "name"], name="webhook_name_once"
            )
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class WebhookOutcome(models.TextChoices):
    """The outcome of a delivery."""

    LAUNCHED = "launched", "Launched"
    IGNORED = "ignored", "Ignored by the filter"
    REFUSED = "refused", "Not launched"  # the reason is in `message`


class WebhookDelivery(models.Model):
    """A delivery with a valid signature, or a replay of one."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,
    )  # the indexes below begin with it
    # Identifies repetitions; null: a replay, or a delivery without what identifies it.
    key = models.CharField(max_length=MAX_KEY_LENGTH, null=True)  # noqa: DJ001 - not unique
    outcome = models.CharField(max_length=8, choices=WebhookOutcome.choices)
    run_id = models.UUIDField(null=True)  # the run may have been deleted
    message = models.TextField(blank=True, default="")
    event = models.CharField(max_length=100, blank=True, default="")
    headers = models.JSONField(default=dict)  # without secrets and signatures
    body = models.TextField(blank=True, default="")
    content_type = models.CharField(max_length=100, blank=True, default="")
    size = models.PositiveIntegerField(default=0)  # bytes of the body
    address = models.CharField(max_length=45, blank=True, default="")
    received_at = models.DateTimeField(default=timezone.now)
    # A sender repeats what it has no response for, or what was refused.
    times = models.PositiveIntegerField(default=1)
    last_at = models.DateTimeField(default=timezone.now)
    replay_of = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="replays"
    )
    replayed_by_name = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["endpoint", "key"], name="delivery_once_per_key"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["endpoint", "-id"], name="delivery_newest"),
            models.Index(fields=["received_at"], name="delivery_age"),
            models.Index(
                fields=["run_id"],
                condition=models.Q(run_id__isnull=False),
                name="delivery_run",
            ),
        ]

    def __str__(self) -> str:
        """Return the event, or the end of the id, and the outcome."""
        return f"{self.event or self.id.hex[-8:]} {self.outcome}"

    @property
    def idempotency_key(self) -> str:
        """Return the key of the run: one run per delivery, in any process."""
        return f"{KEY_PREFIX}{self.pk.hex}"


KEY_PREFIX: Final = "webhook "  # of the idempotency keys of runs
