"""What requests and responses about schedules contain."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.moments import Moment
from workflows.api.schemas import NO_NUL, Input
from workflows.models import CatchUp, MomentResult, Overlap
from workflows.schedules.calendar import MAX_EXPRESSION_LENGTH
from workflows.schedules.service import MAX_JITTER
from workflows.services.entry_rules import MAX_NAME_LENGTH, MAX_PRIORITY


class ScheduleIn(Input):
    """A schedule; fields that are left out have their defaults."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NO_NUL)
    cron: str = Field(
        min_length=1,
        max_length=MAX_EXPRESSION_LENGTH,
        pattern=NO_NUL,
        description="Minute, hour, day of month, month, day of week.",
    )
    zone: str = Field(
        max_length=60, pattern=NO_NUL, description="Such as Europe/Berlin."
    )
    params: dict[str, Any] = Field(default_factory=dict)
    profile: str | None = Field(
        None,
        max_length=60,
        pattern=NO_NUL,
        description="A profile, “” for none, null to choose by weight.",
    )
    priority: int = Field(0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    overlap: Overlap = Field(
        Overlap.SKIP, description="If the previous run has not finished."
    )
    catch_up: CatchUp = Field(
        CatchUp.LAST, description="Which missed times are launched."
    )
    jitter_seconds: int = Field(
        0, ge=0, le=MAX_JITTER, description="Maximum of the random delay."
    )
    ends_at: Moment | None = Field(None, description="No launch at or after this time.")


class ScheduleOut(Schema):
    """A schedule."""

    id: UUID
    workflow: str
    name: str
    cron: str
    description: str = Field(description="The times in words.")
    zone: str
    hidden: bool = Field(description="Whether you can’t read its params: null.")
    params: dict[str, Any] | None
    profile: str | None
    priority: int
    overlap: Overlap
    catch_up: CatchUp
    jitter_seconds: int
    ends_at: dt.datetime | None
    owner: str = Field(description="User who launches the runs.")
    paused: bool
    paused_by: str | None
    pause_reason: str | None
    next: dt.datetime | None = Field(
        description="The next time; null if paused or ended."
    )
    can_change: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    url: str = Field(description="Path of its page.")


class SchedulePage(Schema):
    """A page of schedules, oldest first."""

    items: list[ScheduleOut]
    next: str | None


class MomentOut(Schema):
    """What became of a time of a schedule."""

    moment: dt.datetime
    result: MomentResult
    backfill: bool
    run: UUID | None = Field(description="The run may have been deleted.")
    message: str = Field(description="“hidden” if you can’t read the data.")
    processed_at: dt.datetime


class MomentPage(Schema):
    """A page of past times, newest first."""

    items: list[MomentOut]
    next: str | None


class BackfillPeriod(Input):
    """A past period."""

    first: Moment
    last: Moment = Field(description="Inclusive.")


class BackfillPlan(Schema):
    """What a backfill launches."""

    moments: list[dt.datetime] = Field(description="Times that launched nothing.")


class BackfillQueued(Schema):
    """What a backfill has queued."""

    queued: int = Field(description="Number of runs that workers will launch.")
