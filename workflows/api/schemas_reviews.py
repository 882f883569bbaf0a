"""What requests and responses about golden runs contain."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.schemas import Input, Reason
from workflows.api.schemas_schedules import NO_NUL
from workflows.models.golden_runs import DEFAULT_DATASET, MAX_DATASET_LENGTH
from workflows.services.golden_fields import MAX_FIELDS, MAX_NAME_LENGTH


class GoldenFieldIn(Input):
    """A field of the result that later runs have to repeat."""

    field: str = Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=NO_NUL,
        description="The keys joined by dots, such as `total.net` or `items.0`.",
    )
    tolerance: float | None = Field(
        None, ge=0, description="Largest accepted difference of a number."
    )


class GoldenRunIn(Reason):
    """What of a run later ones have to repeat, besides its status."""

    dataset: str = Field(
        DEFAULT_DATASET, min_length=1, max_length=MAX_DATASET_LENGTH, pattern=NO_NUL
    )
    checks_path: bool = Field(True, description="The nodes and the edges taken.")
    fields: list[GoldenFieldIn] = Field(default_factory=list, max_length=MAX_FIELDS)


class GoldenFieldOut(Schema):
    """A field of the result that is compared."""

    field: str
    tolerance: float | None


class GoldenRunOut(Schema):
    """A golden run, and what of it is compared."""

    run: UUID
    workflow: str
    dataset: str
    checks_path: bool
    fields: list[GoldenFieldOut] | None = Field(
        description="Null if you can’t read the data of the run."
    )
    reason: str = Field(description="“hidden” if you can’t read its data.")
    marked_by: str
    created_at: dt.datetime


class GoldenRunPage(Schema):
    """A page of golden runs, oldest first."""

    items: list[GoldenRunOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")
