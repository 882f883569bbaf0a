"""Webhook destinations with the number of their messages, and deliveries by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, OuterRef, Prefetch, Q, Subquery

from workflows.deliveries import service
from workflows.models import Delivery, DeliveryAttempt, DeliveryStatus
from workflows.pages.lists.pagination import Page, keyset_page

if TYPE_CHECKING:
    import datetime as dt

    from django.contrib.auth.models import User

    from workflows.models import Destination


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A destination as the list shows it."""

    destination: Destination
    pending: int
    failed: int
    last_delivered: dt.datetime | None


def destination_rows(user: User) -> list[DestinationRow]:
    """Return the visible destinations with the numbers of their messages."""
    delivered = Delivery.objects.filter(
        destination=OuterRef("pk"), status=DeliveryStatus.DELIVERED
    )
    last = delivered.order_by("-pk").values("ended_at")[:1]
    rows = service.visible_destinations(user).annotate(
        pending=_count(DeliveryStatus.PENDING),
        failed=_count(DeliveryStatus.FAILED),
        last_delivered=Subquery(last),
    )
    return [
        DestinationRow(row, row.pending, row.failed, row.last_delivered) for row in rows
    ]


def _count(status: DeliveryStatus) -> Count:
    return Count("deliveries", filter=Q(deliveries__status=status))


def deliveries_page(
    user: User,
    destination: Destination,
    *,
    status: str = "",
    before: int | None = None,
    size: int | None = None,
) -> Page[Delivery]:
    """Return a page of the newest deliveries of a destination, with their last attempts."""
    rows = service.visible_deliveries(user).filter(destination=destination)
    if status in DeliveryStatus.values:
        rows = rows.filter(status=status)
    tries = DeliveryAttempt.objects.order_by("-number")
    prefetched = rows.prefetch_related(Prefetch("tries", tries))
    return keyset_page(prefetched, before=before, size=size)
