"""What requests and responses about notifications and subscriptions contain."""

from __future__ import annotations

import datetime as dt
from typing import Annotated
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.schemas import NO_NUL, Input
from workflows.api.schemas_destinations import MAX_ID
from workflows.deliveries.service import MAX_URL_LENGTH
from workflows.models import Chat, DestinationState, Followed, Mail


class NotificationOut(Schema):
    """An event that you were notified of."""

    id: int
    type: str = Field(description="Kind of the event, such as `run.failed`.")
    title: str
    workflow: str
    run: UUID | None
    created_at: dt.datetime
    read_at: dt.datetime | None
    url: str = Field(description="Path of the page that shows more.")


class NotificationPage(Schema):
    """A page of notifications, newest first."""

    items: list[NotificationOut]
    next: str | None


class ReadIn(Input):
    """Notifications that were read."""

    notifications: list[Annotated[int, Field(ge=1, le=MAX_ID)]] | None = Field(
        None, max_length=1_000, description="Ids. Null: all."
    )


class ReadOut(Schema):
    """The number of notifications that were marked as read."""

    read: int


class SubscriptionIn(Input):
    """Something to follow."""

    kind: Followed
    target: str = Field(
        "",
        max_length=100,
        pattern=NO_NUL,
        description="Id of the run, name of the workflow, id of the saved view, or “”.",
    )
    mail: Mail = Mail.NONE
    chat: Chat | None = Field(
        None,
        description="Whether messages go to your chat; null: as before, at first not.",
    )


class SubscriptionOut(Schema):
    """Something that you follow."""

    id: int
    kind: Followed
    target: str
    mail: Mail
    chat: Chat
    created_at: dt.datetime


class SubscriptionPage(Schema):
    """A page of subscriptions, oldest first."""

    items: list[SubscriptionOut]
    next: str | None


class ChatIn(Input):
    """The address of your chat."""

    address: str = Field(
        min_length=1,
        max_length=MAX_URL_LENGTH,
        pattern=NO_NUL,
        description="As Apprise has it, such as `slack://TokenA/TokenB/TokenC/#channel`."
        " It is stored encrypted.",
    )


class ChatOut(Schema):
    """Your chat, which gets your notifications."""

    address: str = Field(description="Without its secrets.")
    state: DestinationState
    failures: int = Field(description="Attempts in a row that failed.")
    error: str | None = Field(description="Why the last attempt failed.")
    next_attempt_at: dt.datetime | None
    updated_at: dt.datetime
