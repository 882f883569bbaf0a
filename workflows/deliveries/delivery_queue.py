"""Rows of the sender: the lease of a destination, its next message, and the results.

Guarantee: a message is pending until a result of an attempt is committed, so it is sent at
least once. The process with the lease of a destination sends its messages one by one, in
the order of their ids. A lease is acquired and renewed by a conditional UPDATE; it is longer
than an attempt, so that a message is sent twice only if its process was killed, or stopped
for longer, between the request and the commit of the result.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from workflows.deliveries import backoff
from workflows.deliveries.owner_permissions import may_receive
from workflows.infra import clock, process_metrics
from workflows.models import Delivery, DeliveryAttempt, DeliveryStatus, Destination

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.deliveries.webhook_requests import Result

logger = logging.getLogger(__name__)

LEASE_ATTEMPTS: Final = 2.0  # a lease lasts as long as so many attempts can take


@dataclass(frozen=True, slots=True)
class Message:
    """The next message of a destination."""

    destination: Destination
    delivery: Delivery


def claim(token: str, limit: int) -> list[UUID]:
    """Take the leases of destinations with a message that is due; return their ids.

    `token` names the process. Leases that others hold are left alone until they expire.
    """
    now = clock.now()
    found = _ready(now).filter(_is_free(now)).order_by("next_attempt_at", "pk")
    ids = list(found.values_list("pk", flat=True)[:limit])
    return [
        pk
        for pk in ids
        if _ready(now)
        .filter(_is_free(now), pk=pk)
        .update(lease=token, lease_expires_at=_lease_end(now))
    ]


def _lease_end(now: dt.datetime) -> dt.datetime:
    return now + dt.timedelta(seconds=LEASE_ATTEMPTS * settings.WEBHOOK_SECONDS)


def _is_free(now: dt.datetime) -> Q:
    return Q(lease_expires_at=None) | Q(lease_expires_at__lt=now)


def _ready(now: dt.datetime) -> QuerySet[Destination]:
    """Return the destinations with a pending message that may be tried now."""
    pending = Delivery.objects.filter(
        destination=OuterRef("pk"), status=DeliveryStatus.PENDING
    )
    is_due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    return Destination.objects.filter(is_due, Exists(pending), paused_at=None)


def next_message(destination_id: UUID, token: str) -> Message | None:
    """Renew the lease and return the next message.

    None if there is none, it is not due, the destination was paused or deleted, or another
    process has taken the lease. Messages that the owner may not see any more are withheld.
    """
    now = clock.now()
    mine = _ready(now).filter(pk=destination_id, lease=token)
    if not mine.update(lease_expires_at=_lease_end(now)):
        return None
    destination = Destination.objects.select_related("owner").get(pk=destination_id)
    pending = destination.deliveries.filter(status=DeliveryStatus.PENDING)
    while delivery := pending.order_by("pk").first():
        if may_receive(destination, delivery.workflow_name):
            return Message(destination, delivery)
        withheld = pending.filter(pk=delivery.pk)
        withheld.update(status=DeliveryStatus.WITHHELD, ended_at=now)
    return None


def release(destination_id: UUID, token: str) -> None:
    """Release a lease."""
    mine = Destination.objects.filter(pk=destination_id, lease=token)
    mine.update(lease="", lease_expires_at=None)


def record(message: Message, result: Result, started_at: dt.datetime) -> bool:
    """Store the result of an attempt; return whether the next message may follow at once.

    A result counts also if the lease has expired. If another process recorded the same
    attempt meanwhile, this one is dropped.
    """
    now = clock.now()
    delivery = message.delivery
    attempts = delivery.attempts + 1
    age = now - delivery.created_at
    is_ended = result.is_delivered or backoff.is_given_up(result, attempts, age)
    status = DeliveryStatus.PENDING
    if is_ended:
        status = (
            DeliveryStatus.DELIVERED if result.is_delivered else DeliveryStatus.FAILED
        )
    with transaction.atomic():
        same = Delivery.objects.filter(
            pk=delivery.pk, status=DeliveryStatus.PENDING, attempts=delivery.attempts
        )
        if not same.update(
            attempts=attempts, status=status, ended_at=now if is_ended else None
        ):
            return False
        DeliveryAttempt.objects.create(
            delivery=delivery,
            number=attempts,
            started_at=started_at,
            duration_ms=result.duration_ms,
            response_status=result.response_status,
            error=result.error,
            excerpt=result.excerpt,
        )
        rows = Destination.objects.select_for_update()
        destination = rows.filter(pk=message.destination.pk).first()
        if destination is None:
            return False
        _apply(destination, result, now)
    process_metrics.DELIVERY_ATTEMPTS.labels(
        "ok" if result.is_delivered else "failed"
    ).inc()
    if status == DeliveryStatus.FAILED:
        logger.error(
            "Message %s to “%s” was given up after %d attempts: %s It can be sent again"
            " on the page of the destination.",
            delivery.webhook_id,
            destination,
            attempts,
            result.error,
        )
    return result.is_delivered


def _apply(destination: Destination, result: Result, now: dt.datetime) -> None:
    """Move the circuit breaker."""
    if result.is_delivered:
        if destination.is_suspended:
            logger.warning("“%s” receives messages again.", destination)
        destination.failures = 0
        destination.failing_since = destination.suspended_at = None
        destination.next_attempt_at = None
    else:
        destination.failures += 1
        destination.failing_since = destination.failing_since or now
        delay = backoff.delay(destination.failures, result.retry_after)
        destination.next_attempt_at = now + delay
        _suspend(destination, result, now)
    destination.save(
        update_fields=[
            *("failures", "failing_since", "suspended_at", "next_attempt_at"),
            *("paused_at", "paused_by_name", "pause_reason"),
        ]
    )


def _suspend(destination: Destination, result: Result, now: dt.datetime) -> None:
    """Open the breaker after several failures; pause a destination that is gone."""
    if result.response_status == backoff.GONE and not destination.is_paused:
        destination.paused_at, destination.paused_by_name = now, "system"
        destination.pause_reason = "The receiver responded with status 410: it is gone."
        logger.warning("“%s” was paused: its receiver is gone (410).", destination)
    elif destination.failures >= backoff.SUSPEND_AFTER and not destination.is_suspended:
        destination.suspended_at = now
        logger.warning(
            "“%s” is suspended after %d failures in a row; messages wait. %s",
            destination,
            destination.failures,
            result.error,
        )
