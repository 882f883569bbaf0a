"""Creates deliveries and notifications of new events: one per event and destination or person.

One process at a time expands, so that the deliveries of a destination have the order in
which the events of a run were committed. Deliveries and the mark of the event are one
transaction: a process that is killed leaves all or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import transaction

from workflows.deliveries import chat, daily_mail, payloads, personal_chat, recipients
from workflows.deliveries.mail import body_of
from workflows.deliveries.owner_permissions import may_receive
from workflows.infra import clock
from workflows.infra.database import is_postgresql
from workflows.models import (
    Chat,
    Delivery,
    DeliveryStatus,
    Destination,
    DestinationKind,
    Mail,
    Notification,
    OutboxEvent,
    Tally,
)
from workflows.models.destinations import PERSONAL_KINDS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

NAME: Final = "outbox"  # of the row that is locked
MAX_EVENTS: Final = 100  # per transaction


def expand() -> bool:
    """Create the deliveries of the oldest new events; return True if more are left."""
    new = OutboxEvent.objects.filter(expanded_at=None).order_by("pk")
    if not new.exists():
        return False
    Tally.objects.get_or_create(name=NAME, defaults={"next_at": clock.now()})
    with transaction.atomic():
        if not _lock():
            return False
        events = list(new[:MAX_EVENTS])
        now = clock.now()
        rows = Destination.objects.exclude(kind__in=PERSONAL_KINDS)
        destinations = list(rows.select_related("owner"))
        deliveries = [
            delivery
            for event in events
            for delivery in _deliveries(event, destinations, now)
        ]
        deliveries += _notify(events)
        Delivery.objects.bulk_create(deliveries)
        ids = [event.pk for event in events]
        OutboxEvent.objects.filter(pk__in=ids).update(expanded_at=now)
    return len(events) == MAX_EVENTS


def _notify(events: Sequence[OutboxEvent]) -> list[Delivery]:
    """Store the notifications of people; return the messages about them."""
    subscriptions = recipients.relevant(events)
    chatting = {one.user for one in subscriptions if one.chat == Chat.EACH}
    chats = personal_chat.chats_of(chatting) if chatting else {}
    messages = []
    for event in events:
        for user, wanted in recipients.of(event, subscriptions).items():
            row = Notification.objects.create(
                user=user,
                event_id=event.pk,
                kind=event.kind,
                workflow_name=event.workflow_name,
                run_id=event.run_id,
                facts=event.facts,
                created_at=event.created_at,
                is_for_digest=wanted.mail == Mail.DAILY,
            )
            if wanted.mail == Mail.EACH:
                messages.append(_about(row, event, daily_mail.mail_destination(user)))
            if wanted.chat == Chat.EACH and user.pk in chats:
                messages.append(_about(row, event, chats[user.pk]))
    return messages


def _about(row: Notification, event: OutboxEvent, to: Destination) -> Delivery:
    """Return a message to a person about a notification."""
    return Delivery(
        destination=to,
        event_id=event.pk,
        kind=event.kind,
        workflow_name=event.workflow_name,
        run_id=event.run_id,
        body=body_of([row.pk]),
    )


def _lock() -> bool:
    """Lock the turn until the end of the transaction; False if another process has it."""
    rows = Tally.objects.filter(pk=NAME)
    if is_postgresql():
        rows = rows.select_for_update(skip_locked=True)
    return rows.first() is not None


def _deliveries(
    event: OutboxEvent, destinations: Sequence[Destination], now: dt.datetime
) -> list[Delivery]:
    wanting = [one for one in destinations if wants(one, event)]
    if not wanting:
        return []
    body = ""  # of webhooks
    made = []
    for destination in wanting:
        is_allowed = may_receive(destination, event.workflow_name)
        status = DeliveryStatus.PENDING if is_allowed else DeliveryStatus.WITHHELD
        is_chat = destination.kind == DestinationKind.CHAT
        if not is_chat:
            body = body or payloads.body_of(event)
        delivery = Delivery(
            destination=destination,
            event_id=event.pk,
            kind=event.kind,
            workflow_name=event.workflow_name,
            run_id=event.run_id,
            body=chat.body_of(event) if is_chat else body,
            status=status,
            created_at=now,
            ended_at=None if is_allowed else now,
        )
        made.append(delivery)
    return made


def wants(destination: Destination, event: OutboxEvent) -> bool:
    """Return whether a destination wants an event."""
    return (not destination.events or event.kind in destination.events) and (
        not destination.workflows or event.workflow_name in destination.workflows
    )
