"""The mail of a day: one per person, about what happened since the last one.

One process at a time makes them, a batch of people per transaction: the mark of the
notifications and the message are committed together.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction

from workflows.deliveries.mail import body_of
from workflows.infra import clock
from workflows.models import Delivery, Destination, DestinationKind, Notification, Tally
from workflows.models.destinations import personal_name

NAME: Final = "digests"  # of the row with the due time
HOUR: Final = 7  # of the day, in UTC
MAX_NOTIFICATIONS: Final = 200  # in one mail; the oldest


def send_if_due(_worker: str = "") -> bool:
    """Queue the mails of the day if they are due; return False if they are not."""
    now = clock.now()
    row, is_new = Tally.objects.get_or_create(
        name=NAME, defaults={"next_at": next_after(now)}
    )
    if is_new or row.next_at > now:
        return False
    mine = Tally.objects.filter(pk=NAME, next_at=row.next_at)
    with transaction.atomic():  # the next day is stored with the mails, or neither
        if not mine.update(next_at=next_after(now)):
            return False
        waiting = Notification.objects.filter(is_for_digest=True)
        for user in User.objects.filter(pk__in=waiting.values("user")):
            _queue(user)
    return True


def next_after(now: dt.datetime) -> dt.datetime:
    """Return the next time at which mails of the day are sent."""
    today = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    return today if now < today else today + dt.timedelta(days=1)


def _queue(user: User) -> None:
    mine = Notification.objects.filter(user=user, is_for_digest=True)
    ids = list(mine.order_by("pk").values_list("pk", flat=True)[:MAX_NOTIFICATIONS])
    mine.update(is_for_digest=False)
    destination = mail_destination(user)
    Delivery.objects.create(destination=destination, kind="digest", body=body_of(ids))


def mail_destination(user: User) -> Destination:
    """Return the destination of mail to a person, which keeps its order and its attempts."""
    found, _ = Destination.objects.get_or_create(
        name=personal_name(DestinationKind.MAIL, user.pk),
        defaults={
            "kind": DestinationKind.MAIL,
            "owner": user,
            "owner_name": user.get_username(),
        },
    )
    return found
