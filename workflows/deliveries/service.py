"""What people do with webhook destinations: create, change, pause, test, delete, replay."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.deliveries import chat, payloads
from workflows.deliveries.webhook_requests import guard, new_secret
from workflows.errors import (
    DeliveryNotFound,
    DestinationNotFound,
    InvalidDestination,
)
from workflows.infra import clock
from workflows.infra.addresses import DEFAULT_PORTS, AddressRefused, origin_of
from workflows.models import (
    Delivery,
    DeliveryStatus,
    Destination,
    DestinationKind,
    EventKind,
    Interest,
)
from workflows.models.destinations import PERSONAL_KINDS, is_personal_name
from workflows.services import entry_rules, named_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

MAX_URL_LENGTH: Final = 500  # characters
MAX_DESTINATIONS: Final = 100
MAX_REPLAYS: Final = 1_000  # messages at once
SECRET_OVERLAP: Final = dt.timedelta(hours=24)
MANAGE: Final = "manage webhook destinations"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person enters about a destination."""

    name: str
    url: str
    events: Sequence[str] = field(default_factory=tuple)  # () = all
    workflows: Sequence[str] = field(default_factory=tuple)  # () = all


def visible_destinations(user: User) -> QuerySet[Destination]:
    """Return the destinations that a person may see: all or none."""
    rows = Destination.objects.exclude(kind__in=PERSONAL_KINDS)
    rows = rows.select_related("owner")
    return rows if permissions.can_view_destinations(user) else rows.none()


def visible_deliveries(user: User) -> QuerySet[Delivery]:
    """Return the deliveries about workflows that a person may see, and the tests."""
    if not permissions.can_view_destinations(user):
        return Delivery.objects.none()
    about = permissions.permissions_for(user).view.q()
    rows = Delivery.objects.exclude(destination__kind__in=PERSONAL_KINDS)
    rows = rows.select_related("destination")
    return rows.filter(Q(workflow_name="") | about)


def find(destination_id: UUID | str, *, by: User) -> Destination:
    """Return a destination. Raises DestinationNotFound, also if `by` may not see it."""
    try:
        return visible_destinations(by).get(pk=destination_id)
    except (Destination.DoesNotExist, ValueError) as error:
        raise DestinationNotFound from error


def find_delivery(delivery_id: int, *, by: User) -> Delivery:
    """Return a delivery. Raises DeliveryNotFound, also if `by` may not see it."""
    try:
        return visible_deliveries(by).get(pk=delivery_id)
    except Delivery.DoesNotExist as error:
        raise DeliveryNotFound from error


def create(plan: Plan, *, by: User) -> tuple[Destination, str]:
    """Create a destination; return it with its secret, which is not shown again.

    A chat has none: "" then. Raises NotAllowed, InvalidDestination.
    """
    permissions.require(permissions.can_manage_destinations(by), MANAGE)
    if visible_destinations(by).count() >= MAX_DESTINATIONS:
        text = f"There are {MAX_DESTINATIONS} destinations already. Delete one first."
        raise InvalidDestination({"": [text]})
    destination = Destination()
    _apply(destination, plan, by=by)
    secret = ""
    if destination.kind == DestinationKind.WEBHOOK:
        secret = new_secret()
        destination.store_secrets(secret)
    _save(destination, "create destination", by=by)
    return destination, secret


def change(destination_id: UUID | str, plan: Plan, *, by: User) -> Destination:
    """Change a destination, which from now on receives what `by` may see.

    Raises DestinationNotFound, NotAllowed, InvalidDestination.
    """
    with transaction.atomic():
        destination = _locked(destination_id, by)
        _apply(destination, plan, by=by)
        _save(destination, "change destination", by=by)
    return destination


def rotate_secret(destination_id: UUID | str, *, by: User) -> tuple[Destination, str]:
    """Replace the secret; return the new one. Both sign for SECRET_OVERLAP.

    Raises DestinationNotFound, NotAllowed, InvalidDestination.
    """
    with transaction.atomic():
        destination = _locked(destination_id, by)
        if destination.kind == DestinationKind.CHAT:
            text = "A chat has no signing secret. Enter its new address instead."
            raise InvalidDestination({"": [text]})
        before = destination.open_newest_secret()
        secret = new_secret()
        with audit_events.changing("rotate destination secret", destination, by=by):
            destination.store_secrets(secret, previous=before)
            destination.previous_secret_until = clock.now() + SECRET_OVERLAP
            destination.save(update_fields=["secrets", "previous_secret_until"])
    return destination, secret


def pause(destination_id: UUID | str, *, by: User, reason: str) -> Destination:
    """Pause a destination: its messages wait until it is resumed.

    Raises DestinationNotFound, NotAllowed, ReasonMissing, InvalidDestination.
    """
    with transaction.atomic():
        destination = _locked(destination_id, by)
        audit_events.require_reason(reason, by=by)
        if destination.is_paused:
            raise InvalidDestination({"": ["The destination is paused already."]})
        text = f"{destination}: {reason}"
        with audit_events.changing(
            "pause destination", destination, by=by, reason=text
        ):
            _set_pause(destination, clock.now(), by.get_username(), reason)
    return destination


def resume(destination_id: UUID | str, *, by: User) -> Destination:
    """Resume a paused destination, or try a suspended one now.

    Raises DestinationNotFound, NotAllowed, InvalidDestination.
    """
    with transaction.atomic():
        destination = _locked(destination_id, by)
        if not destination.is_paused and destination.next_attempt_at is None:
            raise InvalidDestination({"": ["The destination is not paused."]})
        with audit_events.changing("resume destination", destination, by=by):
            destination.next_attempt_at = None
            _set_pause(destination, None, "", "")
    return destination


def _set_pause(
    destination: Destination, at: dt.datetime | None, name: str, reason: str
) -> None:
    destination.paused_at, destination.paused_by_name = at, name
    destination.pause_reason = reason
    fields = ("paused_at", "paused_by_name", "pause_reason", "next_attempt_at")
    destination.save(update_fields=fields)


def delete(destination_id: UUID | str, *, by: User, reason: str) -> Destination:
    """Delete a destination with its deliveries; messages that wait are not sent.

    Raises DestinationNotFound, NotAllowed, ReasonMissing.
    """
    with transaction.atomic():
        destination = _locked(destination_id, by)
        named_rows.delete(destination, "delete destination", by=by, reason=reason)
    return destination


def send_test(destination_id: UUID | str, *, by: User) -> Delivery:
    """Queue a message of the type “test”. Raises DestinationNotFound, NotAllowed."""
    with transaction.atomic():
        destination = _locked(destination_id, by)
        if destination.kind == DestinationKind.CHAT:
            body = chat.as_text("Test", f"Signalbox can reach “{destination.name}”.")
        else:
            body = payloads.test_body(clock.now(), destination.name)
        delivery = Delivery.objects.create(
            destination=destination, kind="test", body=body
        )
        audit_events.note("test destination", by=by, reason=destination.name)
    return delivery


def replay(
    destination_id: UUID | str, delivery_ids: Iterable[int], *, by: User
) -> list[Delivery]:
    """Queue messages again that have ended, in their order, with the ids they had.

    Deliveries that are pending are left out. Raises DestinationNotFound, NotAllowed,
    DeliveryNotFound if one of them is not there, and InvalidDestination.
    """
    ids = sorted(set(delivery_ids))
    if not 0 < len(ids) <= MAX_REPLAYS:
        text = f"Select 1 to {MAX_REPLAYS:,} deliveries."
        raise InvalidDestination({"deliveries": [text]})
    with transaction.atomic():
        destination = _locked(destination_id, by)
        found = visible_deliveries(by).filter(destination=destination, pk__in=ids)
        rows = list(found.order_by("pk"))
        if len(rows) < len(ids):
            raise DeliveryNotFound
        sent = Delivery.objects.bulk_create(
            Delivery(
                destination=destination,
                event_id=row.event_id,
                message_id=row.message_id,
                kind=row.kind,
                workflow_name=row.workflow_name,
                run_id=row.run_id,
                body=row.body,
                replayed_by_name=by.get_username(),
            )
            for row in rows
            if row.status != DeliveryStatus.PENDING
        )
        if not sent:
            text = "These deliveries are pending: they are sent anyway."
            raise InvalidDestination({"deliveries": [text]})
        messages = "1 message" if len(sent) == 1 else f"{len(sent)} messages"
        reason = f"{destination}: {messages}"
        audit_events.note("replay delivery", by=by, reason=reason)
    return sent


# Rows -----------------------------------------------------------------------------------


def _locked(destination_id: UUID | str, by: User) -> Destination:
    """Lock a destination. Raises DestinationNotFound, NotAllowed."""
    found = find(destination_id, by=by)
    permissions.require(permissions.can_manage_destinations(by), MANAGE)
    return named_rows.locked(found, DestinationNotFound)


def _save(destination: Destination, action: str, *, by: User) -> None:
    taken = f"There is a destination “{destination.name}” already."
    with (
        named_rows.unique_name(taken, InvalidDestination),
        audit_events.changing(action, destination, by=by),
    ):
        destination.save()
        _set_interests(destination)


def _set_interests(destination: Destination) -> None:
    """Store what the triggers look up: which events of which workflows are wanted."""
    destination.interests.all().delete()
    Interest.objects.bulk_create(
        Interest(destination=destination, kind=kind, workflow_name=workflow)
        for kind in destination.events or [""]
        for workflow in destination.workflows or [""]
    )


def _apply(destination: Destination, plan: Plan, *, by: User) -> None:
    """Set the fields of a valid plan. Raises InvalidDestination."""
    _validate(plan, by)
    _set_address(destination, plan.url.strip())
    destination.name = entry_rules.normalised(plan.name)
    destination.events = sorted(set(plan.events))
    destination.workflows = sorted(set(plan.workflows))
    destination.owner, destination.owner_name = by, by.get_username()
    destination.updated_at = clock.now()


def _set_address(destination: Destination, url: str) -> None:
    """Set the URL of a webhook, or the address of a chat. Raises InvalidDestination."""
    kind = DestinationKind.CHAT if chat.is_address(url) else DestinationKind.WEBHOOK
    is_new = not destination.url
    if not is_new and kind != destination.kind:
        text = "Add another destination to use a chat instead of a webhook, or reverse."
        raise InvalidDestination({"url": [text]})
    destination.kind = kind
    if kind == DestinationKind.WEBHOOK:
        destination.url = url
    elif is_new or url != destination.url:  # else the form was sent as it was shown
        problem, shown = chat.check(url)
        if problem:
            raise InvalidDestination({"url": [problem]})
        destination.url = shown[:MAX_URL_LENGTH]
        destination.store_secrets(url)


def _validate(plan: Plan, by: User) -> None:
    unknown = sorted(set(plan.events) - set(EventKind.values))
    hidden = sorted(
        one for one in set(plan.workflows) if not permissions.can_view(by, one)
    )
    name = entry_rules.normalised(plan.name)
    rules = {
        "name": (False, "This name is reserved. Choose another one.")
        if is_personal_name(name)
        else entry_rules.name_rule(name),
        "events": (not unknown, f"Unknown events: {', '.join(unknown)[:200]}."),
        "workflows": (not hidden, f"Unknown workflows: {', '.join(hidden)[:200]}."),
    }
    errors = entry_rules.errors_of(rules)
    url = plan.url.strip()
    problem = problem_of_text(url) if chat.is_address(url) else _problem_of_url(url)
    if problem:
        errors["url"] = [problem]
    if errors:
        raise InvalidDestination(errors)


def _problem_of_url(url: str) -> str:
    """Return why messages can’t be sent to a URL, "" if they can."""
    schemes = ("https", "http") if settings.ALLOW_PRIVATE_WEBHOOKS else ("https",)
    if not origin_of(url) or urlsplit(url).scheme not in schemes:
        return f"Enter a full URL that begins with {' or '.join(schemes)}://."
    parts = urlsplit(url)
    if problem := problem_of_text(url):
        return problem
    if parts.username is not None or parts.fragment:
        return "Enter a URL without a user name and without a fragment (#)."
    return _problem_of_host(
        str(parts.hostname), parts.port or DEFAULT_PORTS[parts.scheme]
    )


def problem_of_text(url: str) -> str:
    """Return why a text can’t be a URL or an address, "" if it can."""
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if len(url) > MAX_URL_LENGTH or not is_plain:
        return f"Enter a URL of up to {MAX_URL_LENGTH} ASCII characters without spaces."
    return ""


def _problem_of_host(host: str, port: int) -> str:
    try:
        guard().check_host(host, port)
    except AddressRefused as error:
        return str(error)
    return ""
