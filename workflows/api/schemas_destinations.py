"""What requests and responses about webhook destinations contain."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.schemas import NO_NUL, Input
from workflows.deliveries.service import MAX_REPLAYS, MAX_URL_LENGTH
from workflows.models import (
    DeliveryStatus,
    DestinationKind,
    DestinationState,
    EventKind,
)
from workflows.services.entry_rules import MAX_NAME_LENGTH

MAX_ID = 2**63 - 1


class DestinationIn(Input):
    """A webhook destination."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NO_NUL)
    url: str = Field(
        min_length=1,
        max_length=MAX_URL_LENGTH,
        pattern=NO_NUL,
        description="`https://…`, or the address of a chat in the form of Apprise, such as"
        " `slack://…`.",
    )
    events: list[EventKind] = Field(
        default_factory=list, max_length=50, description="None: all, also later ones."
    )
    workflows: list[Annotated[str, Field(max_length=100, pattern=NO_NUL)]] = Field(
        default_factory=list,
        max_length=200,
        description="Names. None: all that you can view.",
    )


class DestinationOut(Schema):
    """A webhook destination. It receives what its owner may view."""

    id: UUID
    kind: DestinationKind
    name: str
    url: str = Field(description="Of a chat, without its secrets.")
    events: list[str]
    workflows: list[str]
    owner: str
    state: DestinationState
    failures: int = Field(description="Failed attempts in a row.")
    failing_since: dt.datetime | None
    next_attempt_at: dt.datetime | None
    paused_by: str | None
    pause_reason: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
    page: str = Field(description="Path of its page.")


class DestinationPage(Schema):
    """A page of destinations, oldest first."""

    items: list[DestinationOut]
    next: str | None


class DestinationSecret(Schema):
    """A destination and its signing secret, which is not shown again."""

    destination: DestinationOut
    secret: str = Field(description="Empty for a chat, which has none.")


class DeliveryTry(Schema):
    """An attempt to deliver a message."""

    number: int
    started_at: dt.datetime
    duration_ms: int
    response_status: int | None = Field(description="Null if there was no response.")
    error: str | None = Field(description="Null if it was delivered.")
    excerpt: str = Field(description="Begin of the response.")


class DeliveryOut(Schema):
    """A message to a destination."""

    id: int
    destination: UUID
    message_id: str = Field(description="The header `webhook-id`.")
    type: str
    workflow: str | None
    run: UUID | None
    status: DeliveryStatus
    attempts: int
    replayed_by: str | None
    created_at: dt.datetime
    ended_at: dt.datetime | None


class DeliveryPage(Schema):
    """A page of deliveries, newest first."""

    items: list[DeliveryOut]
    next: str | None


class DeliveryDetail(DeliveryOut):
    """A message with its body and its attempts."""

    body: dict[str, Any]
    tries: list[DeliveryTry]


class ReplayIn(Input):
    """Deliveries to send again."""

    deliveries: list[Annotated[int, Field(ge=1, le=MAX_ID)]] = Field(
        min_length=1, max_length=MAX_REPLAYS
    )


class Replayed(Schema):
    """The new deliveries of messages that are sent again, in their order."""

    deliveries: list[DeliveryOut]
