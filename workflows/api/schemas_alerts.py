"""What requests and responses about alert rules contain."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.alerts.service import MAX_LIMIT, MAX_WINDOW
from workflows.api.schemas import NO_NUL, Input
from workflows.models import AlertMetric
from workflows.services.entry_rules import MAX_NAME_LENGTH


class AlertIn(Input):
    """An alert rule: a limit for a value of a workflow."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NO_NUL)
    metric: AlertMetric
    raise_above: float = Field(
        ge=0,
        le=MAX_LIMIT,
        description="A share is 0 to 1, a cost in the currency, an age in minutes.",
    )
    clear_at: float | None = Field(
        None,
        ge=0,
        le=MAX_LIMIT,
        description="At most `raise_above`, which is the default.",
    )
    window_minutes: int = Field(60, ge=1, le=MAX_WINDOW)
    min_count: int = Field(
        1, ge=1, le=10**6, description="A share of fewer runs raises nothing."
    )
    from_node: str = Field(
        "", max_length=200, pattern=NO_NUL, description="Of the edge, for `edge_share`."
    )
    to_node: str = Field("", max_length=200, pattern=NO_NUL)


class AlertOut(Schema):
    """An alert rule with its present value."""

    id: UUID
    workflow: str
    name: str
    metric: AlertMetric
    raise_above: float
    clear_at: float
    window_minutes: int
    min_count: int
    from_node: str
    to_node: str
    owner: str
    raised_at: dt.datetime | None = Field(description="Null if it is not raised.")
    value: float | None = Field(description="Null without data.")
    evaluated_at: dt.datetime | None
    can_change: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    url: str = Field(description="Path of its page.")


class AlertPage(Schema):
    """A page of alert rules, oldest first."""

    items: list[AlertOut]
    next: str | None
