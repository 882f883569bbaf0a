"""Schemas of requests about the work on approvals."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import AwareDatetime, Field

from workflows.api.schemas import NO_NUL, Input

MAX_RESPONSES = 50  # of one request


class ApprovalRef(Input):
    """Which approval of the run a request is about."""

    sequence: int | None = Field(
        None, ge=0, description="Step of the approval; another one is refused with 409."
    )


class Reassignment(ApprovalRef):
    """To whom an approval is assigned."""

    to: str = Field(
        min_length=1,
        max_length=150,
        pattern=NO_NUL,
        description="Name of a person, else of a group.",
    )
    reason: str = Field("", max_length=2_000, pattern=NO_NUL)


class Escalation(ApprovalRef):
    """Why an approval goes to its other group before its time."""

    reason: str = Field("", max_length=2_000, pattern=NO_NUL)


class Snooze(ApprovalRef):
    """Until when an approval is hidden from your lists on the pages."""

    until: AwareDatetime | None = Field(
        description="At most a year from now; null shows it again."
    )


class SnoozeOut(Schema):
    """Until when an approval is hidden: earlier if it is about to expire."""

    until: dt.datetime | None


class RunApproval(Input):
    """The open approval of a run."""

    run: UUID
    sequence: int | None = Field(None, ge=0, description="Step of the approval.")


class Responses(Input):
    """One response to several approvals."""

    approvals: list[RunApproval] = Field(min_length=1, max_length=MAX_RESPONSES)
    value: dict[str, Any] = Field(description="Fits the form of each approval.")
    reason: str = Field(
        "",
        max_length=2_000,
        pattern=NO_NUL,
        description="Stored with each response.",
    )


class ResponseResult(Schema):
    """What became of the response to one approval."""

    run: UUID
    saved: bool
    code: str = Field(description="Of the error, “” if it was saved.")
    detail: str = Field(description="A sentence for people, “” if it was saved.")
