"""What requests and responses about incoming webhooks contain."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field, StringConstraints

from workflows.api.schemas import Input
from workflows.models import Deduplication, VerificationStyle, WebhookOutcome
from workflows.services.entry_rules import MAX_NAME_LENGTH, MAX_PRIORITY
from workflows.webhooks.checks import MAX_ROWS, MAX_VALUES
from workflows.webhooks.mapping import MAX_PATH_LENGTH, MAX_TEXT_LENGTH
from workflows.webhooks.signatures import MAX_SECRET_LENGTH

NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH, pattern=NO_NUL)]


class MappingRow(Input):
    """Where the value of a param comes from."""

    param: str = Field(min_length=1, max_length=MAX_PATH_LENGTH, pattern=NO_NUL)
    source: Literal["body", "header", "constant"]
    value: Any = Field(
        description="A path of the payload, the name of a header, or the constant."
    )


class Condition(Input):
    """A condition of the filter."""

    source: Literal["body", "header"]
    value: str = Field(
        max_length=MAX_PATH_LENGTH, pattern=NO_NUL, description="Path or header."
    )
    values: list[Text] = Field(min_length=1, max_length=MAX_VALUES)


class WebhookIn(Input):
    """A webhook; fields that are left out have their defaults."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NO_NUL)
    style: VerificationStyle = Field(VerificationStyle.STANDARD)
    token_header: str = Field(
        "", max_length=60, pattern=NO_NUL, description="Of a shared token."
    )
    secret: str = Field(
        "",
        max_length=MAX_SECRET_LENGTH,
        pattern=NO_NUL,
        description="Empty: a random one, or the present one.",
    )
    mapping: list[MappingRow] = Field(default_factory=list, max_length=MAX_ROWS)
    filters: list[Condition] = Field(default_factory=list, max_length=MAX_ROWS)
    deduplication: Deduplication = Field(
        Deduplication.DELIVERY, description="What repeated deliveries have in common."
    )
    deduplication_field: str = Field("", max_length=MAX_PATH_LENGTH, pattern=NO_NUL)
    profile: str | None = Field(
        None,
        max_length=60,
        pattern=NO_NUL,
        description="A profile, “” for none, null to choose by weight.",
    )
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    owner: str | None = Field(
        None,
        max_length=150,
        pattern=NO_NUL,
        description="Service account that launches the runs; null: you.",
    )


class WebhookOut(Schema):
    """An incoming webhook."""

    id: UUID
    workflow: str
    name: str
    hidden: bool = Field(description="Whether you can’t read mapping and filter: null.")
    address: str | None = Field(description="Path; null unless you can change it.")
    style: VerificationStyle
    token_header: str
    mapping: list[MappingRow] | None
    filters: list[Condition] | None
    deduplication: Deduplication
    deduplication_field: str
    profile: str | None
    priority: int
    enabled: bool
    owner: str = Field(description="User who launches the runs.")
    previous_secret_until: dt.datetime | None
    rejected: int = Field(description="Requests with an invalid signature.")
    rejected_at: dt.datetime | None
    can_change: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    url: str = Field(description="Path of its page.")


class WebhookSaved(Schema):
    """A webhook that was saved."""

    webhook: WebhookOut
    secret: str | None = Field(description="The new secret; it is not shown again.")


class NewSecret(Input):
    """A secret."""

    secret: str = Field(
        "",
        max_length=MAX_SECRET_LENGTH,
        pattern=NO_NUL,
        description="Empty: a random one.",
    )


class WebhookPage(Schema):
    """A page of webhooks, oldest first."""

    items: list[WebhookOut]
    next: str | None


class WebhookDeliveryOut(Schema):
    """A delivery."""

    id: UUID
    webhook: UUID
    outcome: WebhookOutcome
    run: UUID | None = Field(description="The run may have been deleted.")
    message: str = Field(description="“hidden” if you can’t read the data.")
    event: str
    size: int = Field(description="Bytes of the body.")
    received_at: dt.datetime
    times: int = Field(description="How often it was received.")
    last_at: dt.datetime
    replay_of: UUID | None
    replayed_by: str | None
    url: str = Field(description="Path of its page.")


class WebhookDeliveryDetail(WebhookDeliveryOut):
    """A delivery with its content."""

    headers: dict[str, str] | None = Field(description="Null if you can’t read it.")
    body: str | None


class WebhookDeliveryPage(Schema):
    """A page of deliveries, newest first."""

    items: list[WebhookDeliveryOut]
    next: str | None


class PreviewIn(Input):
    """A webhook and a payload that is not delivered."""

    webhook: WebhookIn
    payload: Any = None
    headers: dict[str, Text] = Field(default_factory=dict)


class PreviewOut(Schema):
    """What a payload would launch."""

    params: dict[str, Any] | None = Field(description="Null: nothing is launched.")
    ignored: str = Field(description="Why the filter excludes it.")
    missing: list[str] = Field(description="Params whose source is missing.")
    errors: dict[str, list[str]]
