"""Deletes old events, deliveries and notifications: one process at a time, each hour."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from workflows.infra import clock
from workflows.models import (
    Delivery,
    DeliveryStatus,
    Destination,
    DestinationKind,
    Notification,
    OutboxEvent,
    Tally,
)

if TYPE_CHECKING:
    from django.db.models import QuerySet

NAME: Final = "deliveries"  # of the row with the due time
INTERVAL: Final = dt.timedelta(hours=1)
PAUSE: Final = dt.timedelta(seconds=10)  # between two batches while more is due
BATCH_SIZE: Final = 2_000  # rows per transaction


def purge_if_due(_worker: str = "") -> bool:
    """Delete a batch of what is older than DELIVERY_DAYS; return True if one was due."""
    now = clock.now()
    row, _ = Tally.objects.get_or_create(name=NAME, defaults={"next_at": now})
    mine = Tally.objects.filter(pk=NAME, next_at=row.next_at)
    if row.next_at > now or not mine.update(next_at=now + INTERVAL):
        return False
    if purge(now):
        Tally.objects.filter(pk=NAME).update(next_at=now + PAUSE)
    return True


def purge(now: dt.datetime) -> bool:
    """Delete a batch of old rows; return True if there may be more.

    Messages that are pending, and events without deliveries yet, are kept.
    """
    before = now - dt.timedelta(days=settings.DELIVERY_DAYS)
    deliveries = Delivery.objects.filter(created_at__lt=before)
    ended = deliveries.exclude(status=DeliveryStatus.PENDING)
    events = OutboxEvent.objects.filter(created_at__lt=before)
    expanded = events.exclude(expanded_at=None)
    notifications = Notification.objects.filter(created_at__lt=before)
    # an account that was deleted leaves its chat; the address is a secret
    Destination.objects.filter(kind=DestinationKind.PERSONAL, owner=None).delete()
    return any([_delete(ended), _delete(expanded), _delete(notifications)])


def _delete(rows: QuerySet[Any]) -> bool:
    keys = list(rows.order_by("created_at").values_list("pk", flat=True)[:BATCH_SIZE])
    rows.filter(pk__in=keys).delete()
    return len(keys) == BATCH_SIZE
