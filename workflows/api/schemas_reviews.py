"""What requests and responses about golden runs and assessments contain."""

from __future__ import annotations

import datetime as dt
from typing import Final
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.schemas import NO_NUL, Input, Reason, WorkflowReason
from workflows.models.golden_runs import DEFAULT_DATASET, MAX_DATASET_LENGTH
from workflows.services.assessments import MAX_NOTE_LENGTH
from workflows.services.golden_fields import MAX_FIELDS, MAX_NAME_LENGTH

MAX_STEP: Final = 2**31 - 1


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


class GoldenRunIn(WorkflowReason):
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


class AssessmentIn(Input):
    """Whether a run, or the edge taken after a step, was right."""

    right: bool
    note: str = Field("", max_length=MAX_NOTE_LENGTH, pattern=NO_NUL)
    step: int = Field(0, ge=0, le=MAX_STEP, description="0: the whole run.")


class AssessmentOut(Schema):
    """The last assessment of a run or a decision."""

    run: UUID
    step: int = Field(description="0: the whole run.")
    from_node: str
    to_node: str
    right: bool
    note: str = Field(description="“hidden” if you can’t read the data of the run.")
    by: str
    at: dt.datetime


class AccuracyOut(Schema):
    """How many assessments of something were right."""

    name: str
    right: int
    wrong: int
    share: float | None = Field(description="0 to 1; null without any.")


class WorkflowAccuracyOut(Schema):
    """The accuracy of a workflow by all that was assessed."""

    runs: AccuracyOut
    edges: list[AccuracyOut] = Field(description="Of decisions, by the edge taken.")
    profiles: list[AccuracyOut] = Field(description="Of runs; “” is no profile.")
    months: list[AccuracyOut] = Field(description="Of runs, by the month of launch.")


class Promotion(Reason):
    """The profile that launches without one get from now on."""

    profile: str = Field(max_length=60, pattern=NO_NUL, description="“” for none.")
