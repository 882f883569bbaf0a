"""What requests and responses about events contain. Values that may not be read are null."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import Field, StringConstraints

from workflows.api.schemas import Input
from workflows.engine.event_nodes import MAX_EVENT_NAME_CHARS, MAX_KEY_CHARS
from workflows.models import EventWaitKind, EventWaitStatus

NO_NUL = r"^[^\x00]*$"
MAX_WORKFLOW_NAME_CHARS = 100
Key = Annotated[str, StringConstraints(max_length=MAX_KEY_CHARS, pattern=NO_NUL)]


class EventIn(Input):
    """A message to the runs that wait for an event."""

    name: str = Field(
        min_length=1,
        max_length=MAX_EVENT_NAME_CHARS,
        pattern=NO_NUL,
        description="Name of the event, as its workflow declares it.",
    )
    key: Key = Field(
        "", description="Selects the runs, such as the number of an order."
    )
    value: dict[str, Any] = Field(
        default_factory=dict, description="Fits the type that the workflow declares."
    )
    workflow: str = Field(
        "",
        max_length=MAX_WORKFLOW_NAME_CHARS,
        pattern=NO_NUL,
        description="The only workflow to send it to; empty: all that wait for the event.",
    )


class SentOut(Schema):
    """A message to the runs of one workflow."""

    id: UUID
    workflow: str
    name: str
    key: str
    sent_at: dt.datetime
    runs: list[UUID] = Field(description="The runs that it has moved.")
    kept: bool = Field(description="Whether it waits for a run that will wait for it.")


class MessageOut(Schema):
    """A message that a run received."""

    id: UUID
    sender: str
    sent_at: dt.datetime
    value: Any | None = Field(
        description="Null if you can’t read the data, or if retention deleted it."
    )


class WaitOut(Schema):
    """What a step of a run waits or waited for."""

    sequence: int
    node: str
    kind: EventWaitKind
    event: str
    key: str = Field(description="“hidden” if you can’t read the data of the run.")
    status: EventWaitStatus
    since: dt.datetime
    until: dt.datetime | None = Field(description="When it expires.")
    ended_at: dt.datetime | None
    message: MessageOut | None
