"""Messages of events, and the waits of runs for them.

A message moves every run that waits for its name and key. One that no run waits for is kept,
and the next wait takes it. `execution/event_delivery.py` brings both together.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

import uuid_utils.compat
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run
from workflows.models.status import EventWaitKind, EventWaitStatus


def new_message_id() -> uuid.UUID:
    """Return a UUIDv7: ids sort by the time of receipt."""
    return uuid_utils.compat.uuid7()


class EventMessage(models.Model):
    """A message to the runs of one workflow that wait for an event."""

    id = models.UUIDField(primary_key=True, default=new_message_id, editable=False)
    workflow_name = models.CharField(max_length=100)
    name = models.CharField(max_length=100)  # of the event; "": posted to a callback
    key = models.CharField(max_length=200, blank=True, default="")
    # as the node reads it; null: removed by retention
    value = ExactJSONField(null=True)
    sender = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    sender_name = models.CharField(max_length=150)  # kept when the account is deleted
    address = models.CharField(max_length=45, blank=True, default="")  # of the client
    idempotency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - NULL keeps the unique constraint out of the way
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)  # null: kept for the next wait

    already_sent = False  # set on the row that a repeated idempotency key gives

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "name", "idempotency_key"],
                name="message_idempotency_key_once",
            ),
        ]
        indexes: ClassVar = [
            # delivery: the oldest kept message of an event
            models.Index(
                fields=["workflow_name", "name", "key", "id"],
                condition=Q(delivered_at=None),
                name="message_kept",
            ),
            models.Index(fields=["created_at"], name="message_by_age"),  # retention
        ]

    def __str__(self) -> str:
        """Return the event and the short id."""
        return f"{self.name or 'callback'} {self.short_id}"

    @property
    def short_id(self) -> str:
        """Return the last eight hex digits: the random part of the id."""
        return self.id.hex[-8:]


class EventWaitQuerySet(models.QuerySet["EventWait"]):
    """Waits for events, and the conditional update that closes them."""

    def open(self) -> EventWaitQuerySet:
        """Return the open waits."""
        return self.filter(status=EventWaitStatus.OPEN)

    def close(
        self, status: EventWaitStatus, *, message: EventMessage | None = None
    ) -> int:
        """Close open waits; return their number."""
        return self.open().update(
            status=status, message=message, closed_at=timezone.now()
        )


class EventWait(models.Model):
    """What one step of a run waits for: a message with a name and a key, or to an address."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="event_waits")
    sequence = models.PositiveIntegerField()  # of the step that waits
    position = models.PositiveIntegerField(default=0)  # among the waits of the step
    workflow_name = models.CharField(max_length=100)
    node_name = models.CharField(max_length=200)
    kind = models.CharField(
        max_length=10, choices=EventWaitKind.choices, default=EventWaitKind.EVENT
    )
    name = models.CharField(max_length=100, blank=True, default="")  # of the event
    key = models.CharField(max_length=200, blank=True, default="")
    status = models.CharField(
        max_length=10, choices=EventWaitStatus.choices, default=EventWaitStatus.OPEN
    )
    message = models.ForeignKey(
        EventMessage, null=True, on_delete=models.SET_NULL, related_name="waits"
    )
    # of a callback: a part of its address, which is signed (`services/callbacks.py`)
    address_id = models.UUIDField(null=True, unique=True)
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)

    objects: ClassVar[EventWaitQuerySet] = EventWaitQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "sequence", "position"], name="event_wait_once"
            ),
            # a message is taken by one wait of a run
            models.UniqueConstraint(
                fields=["message", "run"],
                condition=Q(message__isnull=False),
                name="event_wait_message_once",
            ),
            models.CheckConstraint(
                condition=Q(status__in=EventWaitStatus.values),
                name="event_wait_status_known",
            ),
        ]
        indexes: ClassVar = [
            # delivery: the runs that wait for an event
            models.Index(
                fields=["workflow_name", "name", "key"],
                condition=Q(status=EventWaitStatus.OPEN),
                name="event_wait_open",
            )
        ]

    def __str__(self) -> str:
        """Return the node and the event."""
        return f"{self.node_name}: {self.name or self.kind}"
