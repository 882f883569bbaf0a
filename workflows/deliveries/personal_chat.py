"""The chat of a person: an address of their own that gets their notifications.

A person has one at most. It is a destination of the kind PERSONAL, so that order, attempts,
circuit breaker and encryption are those of other destinations; only its owner sees it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from django.db import transaction

from workflows.audit import audit_events
from workflows.deliveries import chat
from workflows.deliveries.service import MAX_URL_LENGTH, problem_of_text
from workflows.errors import DestinationNotFound, InvalidDestination
from workflows.infra import clock
from workflows.models import (
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Destination,
    DestinationKind,
)
from workflows.models.destinations import personal_name
from workflows.services import named_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

EXAMPLE: Final = "slack://TokenA/TokenB/TokenC/#channel"
TEST: Final = "test"  # kind of a test message
CHANGED: Final = (
    "Your chat was changed by another request meanwhile. Enter its address."
)
TAKEN: Final = "Your chat was added by another request meanwhile. Reload the page."


def is_available() -> bool:
    """Return whether the packages are installed that send messages to chats."""
    return find_spec("apprise") is not None


def chat_of(user: User) -> Destination | None:
    """Return the chat of a person, None if there is none."""
    return _chats().filter(owner=user).first()


def find(user: User, *, lock: bool = False) -> Destination:
    """Return the chat of a person. Raises DestinationNotFound."""
    rows = _chats().select_for_update(of=("self",)) if lock else _chats()
    found = rows.filter(owner=user).first()
    if found is None:
        raise DestinationNotFound("You have no chat.")
    return found


def chats_of(users: Iterable[User]) -> dict[int, Destination]:
    """Return the chats of people by the id of their owner."""
    rows = _chats().filter(owner__in=[user.pk for user in users])
    return {row.owner_id: row for row in rows if row.owner_id is not None}


def save(address: str, *, by: User) -> Destination:
    """Set the address of a person's chat, and try pending messages again.

    The address as it is shown changes nothing else. Raises InvalidDestination.
    """
    address = address.strip()
    known = chat_of(by)
    # by a child process: not while the row is locked
    shown = "" if known is not None and address == known.url else _checked(address)
    with transaction.atomic():
        name = personal_name(DestinationKind.PERSONAL, by.pk)
        row = Destination.objects.select_for_update().filter(name=name).first()
        if not shown and (row is None or not row.secrets or address != row.url):
            raise InvalidDestination({"address": [CHANGED]})
        row = row or Destination(name=name)
        with (
            named_rows.unique_name(TAKEN, InvalidDestination),
            audit_events.changing("set chat", row, by=by, reason=shown or row.url),
        ):
            row.kind = DestinationKind.PERSONAL
            row.owner, row.owner_name = by, by.get_username()
            if shown:
                row.url = shown
                row.store_secrets(address)
            row.updated_at = clock.now()
            row.paused_at, row.pause_reason, row.failures = None, "", 0
            row.failing_since = row.suspended_at = row.next_attempt_at = None
            row.save()
    return row


def remove(*, by: User) -> None:
    """Delete the chat of a person with its messages. Raises DestinationNotFound."""
    with transaction.atomic():
        row = find(by, lock=True)
        with audit_events.changing("remove chat", row, by=by, reason=row.url):
            row.delete()


def send_test(*, by: User) -> Delivery:
    """Queue a test message, unless one is pending; try pending messages again now.

    Raises DestinationNotFound.
    """
    with transaction.atomic():
        row = find(by)
        Destination.objects.filter(pk=row.pk).update(next_attempt_at=None)
        waiting = row.deliveries.filter(kind=TEST, status=DeliveryStatus.PENDING)
        audit_events.note("test chat", by=by, reason=row.url)
        body = chat.as_text("Test", "Signalbox can reach your chat.")
        return waiting.first() or row.deliveries.create(kind=TEST, body=body)


def last_error(row: Destination) -> str:
    """Return why the last attempt failed, "" if it succeeded or there was none."""
    attempts = DeliveryAttempt.objects.filter(delivery__destination=row)
    last = attempts.order_by("-pk").first()
    return last.error if last is not None else ""


def _chats() -> QuerySet[Destination]:
    return Destination.objects.filter(kind=DestinationKind.PERSONAL)


def _checked(address: str) -> str:
    """Return a valid address without its secrets. Raises InvalidDestination."""
    problem, shown = "", ""
    if not chat.is_address(address):
        problem = f"Enter the address of a chat, such as {EXAMPLE}."
    problem = problem or problem_of_text(address)
    if not problem:
        problem, shown = chat.check(address)
    if problem:
        raise InvalidDestination({"address": [problem]})
    return shown[:MAX_URL_LENGTH]
