"""Destinations of deliveries, and the deliveries to them with their attempts."""

from __future__ import annotations

import re
import uuid
from typing import Any, ClassVar, Final

import uuid_utils.compat
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.infra import encryption
from workflows.models.runs import new_run_id

MAX_EXCERPT_LENGTH = 1000  # characters of a response


def new_message_id() -> uuid.UUID:
    """Return the id of a message: a receiver that gets it twice has seen it before."""
    return uuid_utils.compat.uuid7()


class DestinationKind(models.TextChoices):
    """How messages are sent."""

    WEBHOOK = "webhook", "Webhook"
    CHAT = "chat", "Chat"  # its address is secret; `url` is what can be shown of it
    MAIL = "mail", "Mail"  # of its owner, who has one at most
    PERSONAL = "personal", "Personal chat"  # of its owner, in the same way


PERSONAL_KINDS: Final = (DestinationKind.MAIL, DestinationKind.PERSONAL)
"""What people get their notifications by; only they see it."""
_NAMES: Final = {
    DestinationKind.MAIL: "Mail to account",
    DestinationKind.PERSONAL: "Chat of account",
}
_PERSONAL_NAME: Final = re.compile(f"(?:{'|'.join(_NAMES.values())}) [0-9]+")


def personal_name(kind: DestinationKind, user_id: int) -> str:
    """Return the name of a person's destination, which makes it the only one."""
    return f"{_NAMES[kind]} {user_id}"


def is_personal_name(name: str) -> bool:
    """Return whether a name is that of a person's destination."""
    return _PERSONAL_NAME.fullmatch(name) is not None


class DestinationState(models.TextChoices):
    """Whether messages arrive; it follows from the fields of a destination."""

    WORKING = "working", "Working"
    FAILING = "failing", "Failing"  # the last attempt failed
    SUSPENDED = "suspended", "Suspended"  # the circuit breaker is open
    PAUSED = "paused", "Paused"


class Destination(models.Model):
    """Where messages are sent: in order, one at a time, by whichever process holds its lease.

    It receives what its owner may see, the person who created it or last changed it.
    """

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    kind = models.CharField(
        max_length=8, choices=DestinationKind.choices, default=DestinationKind.WEBHOOK
    )
    name = models.CharField(max_length=100)
    url = models.CharField(max_length=500)
    # encrypted: the signing secret, or the address of a chat, also of a person
    secrets = models.BinaryField(null=True, editable=False)
    previous_secret_until = models.DateTimeField(
        null=True
    )  # signed with both until then
    events = models.JSONField(default=list)  # values of EventKind; [] = all
    workflows = models.JSONField(default=list)  # names; [] = all
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="destinations",
    )
    owner_name = models.CharField(max_length=150)  # survives the account
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    paused_at = models.DateTimeField(null=True)  # messages wait
    paused_by_name = models.CharField(max_length=150, blank=True, default="")
    pause_reason = models.TextField(blank=True, default="")

    # The circuit breaker: failures in a row, since when it is open, and the time of the
    # next attempt. An open one is tried with one message at a time.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    suspended_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    # The process that delivers to it now
    lease = models.CharField(max_length=64, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], name="destination_name_once"),
            models.CheckConstraint(
                condition=Q(kind__in=DestinationKind.values),
                name="destination_kind_known",
            ),
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    @property
    def is_paused(self) -> bool:
        """Return whether a person, or a receiver that is gone, paused it."""
        return self.paused_at is not None

    @property
    def is_suspended(self) -> bool:
        """Return whether the circuit breaker is open."""
        return self.suspended_at is not None

    @property
    def state(self) -> DestinationState:
        """Return whether messages arrive."""
        if self.is_paused:
            return DestinationState.PAUSED
        if self.is_suspended:
            return DestinationState.SUSPENDED
        return DestinationState.FAILING if self.failures else DestinationState.WORKING

    def store_secrets(self, secret: str, previous: str = "") -> None:
        """Encrypt and set the secret, and the one before a rotation. Does not save."""
        values = {"secret": secret, "previous": previous}
        self.secrets = encryption.encrypt(values)

    def open_newest_secret(self) -> str:
        """Return the secret, "" if none can be decrypted: it will be replaced."""
        try:
            return encryption.decrypt(self.secrets).get("secret", "")
        except InvalidToken:
            return ""

    def open_secrets(self) -> list[str]:
        """Return the secrets that sign now: one, or two for a while after a rotation.

        Raises cryptography.fernet.InvalidToken if no secret key decrypts them.
        """
        values = encryption.decrypt(self.secrets)
        until = self.previous_secret_until
        is_rotating = until is not None and until > timezone.now()
        names = ("secret", "previous") if is_rotating else ("secret",)
        return [values[name] for name in names if values.get(name)]


class DeliveryStatus(models.TextChoices):
    """The outcome of a message to a destination."""

    PENDING = "pending", "Pending"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"  # given up; it can be sent again
    WITHHELD = "withheld", "Withheld"  # the owner may not see the workflow any more


class Delivery(models.Model):
    """A message to a destination. Its id is its place in the order of the destination."""

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="deliveries"
    )
    event_id = models.BigIntegerField(null=True)  # of the outbox; null: a test
    message_id = models.UUIDField(default=new_message_id)  # the same in a replay
    kind = models.CharField(max_length=40)  # of the event, or "test"
    workflow_name = models.CharField(max_length=100, blank=True, default="")
    run_id = models.UUIDField(null=True)
    body = models.TextField()  # the same bytes in every attempt
    status = models.CharField(
        max_length=9, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING
    )
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    replayed_by_name = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        verbose_name_plural = "deliveries"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["destination", "event_id"],
                condition=Q(replayed_by_name=""),
                name="delivery_once_per_event",
            ),
            models.CheckConstraint(
                condition=Q(status__in=DeliveryStatus.values),
                name="delivery_status_known",
            ),
        ]
        indexes: ClassVar = [
            # the next message of a destination
            models.Index(
                fields=["destination", "id"],
                condition=Q(status=DeliveryStatus.PENDING),
                name="delivery_pending",
            ),
            # page of a destination: newest first
            models.Index(fields=["destination", "-id"], name="delivery_by_destination"),
            models.Index(fields=["created_at"], name="delivery_by_age"),  # retention
        ]

    def __str__(self) -> str:
        """Return the kind and the id of the message."""
        return f"{self.kind} {self.message_id}"

    @property
    def webhook_id(self) -> str:
        """Return the value of the header webhook-id."""
        return f"msg_{self.message_id.hex}"


class DeliveryAttempt(models.Model):
    """One attempt to deliver a message, and the response to it."""

    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="tries"
    )
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    duration_ms = models.PositiveIntegerField(default=0)
    response_status = models.PositiveSmallIntegerField(null=True)  # null: no response
    error = models.TextField(blank=True, default="")  # a sentence; "" = delivered
    excerpt = models.TextField(blank=True, default="")  # begin of the response

    class Meta:
        ordering: ClassVar = ["delivery", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["delivery", "number"], name="delivery_attempt_once"
            )
        ]

    def __str__(self) -> str:
        """Return the number and the result."""
        return f"attempt {self.number}: {self.error or self.response_status}"

    def save(self, *args: Any, **options: Any) -> None:
        """Save the row, with the excerpt cut to its limit."""
        self.excerpt = self.excerpt[:MAX_EXCERPT_LENGTH]
        super().save(*args, **options)
