"""What the events of streams contain."""

from __future__ import annotations

from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.schemas import (
    ApprovalOut,
    DecisionOut,
    LogLineOut,
    PausedWorkflow,
    RunSummary,
    StageOut,
)
from workflows.api.schemas_events import WaitOut


class RunEvent(Schema):
    """A run, and the part of its history that was not sent before. Event `run`."""

    reset: bool = Field(
        description="Whether the history begins anew: an older copy of the database was"
        " restored. Drop what you have."
    )
    run: RunSummary
    hidden: bool = Field(description="Whether you can’t read its data.")
    in_progress: StageOut | None = Field(
        description="The step that is executed or waits; it is in `stages` once it ends."
    )
    stages: list[StageOut] = Field(description="Ended steps, in order.")
    decisions: list[DecisionOut] = Field(description="Evaluated edges, in order.")
    log: list[LogLineOut] = Field(description="Log lines; none if hidden.")
    approvals: list[ApprovalOut] = Field(description="Opened or closed approvals.")
    waits: list[WaitOut] = Field(
        description="Opened or closed waits for events and callbacks, with the message"
        " received, and the other waits of their step."
    )


class RunListEvent(Schema):
    """The first page of a list of runs. Event `runs`."""

    ids: list[UUID] = Field(description="All runs of the page, newest first.")
    items: list[RunSummary] = Field(description="Those that are new or have changed.")


class ApprovalKey(Schema):
    """Names an approval."""

    run: UUID
    sequence: int


class ApprovalListEvent(Schema):
    """The oldest open approvals that you may respond to. Event `approvals`."""

    ids: list[ApprovalKey] = Field(description="All approvals of the page.")
    items: list[ApprovalOut] = Field(description="Those that are new or have changed.")


class PauseListEvent(Schema):
    """The paused workflows. Event `pauses`."""

    ids: list[str] = Field(description="Names of all paused workflows.")
    items: list[PausedWorkflow] = Field(
        description="Those that are new or have changed."
    )


class Closed(Schema):
    """Why the server ends a stream. Event `closed`."""

    code: str = Field(description="Such as `run_ended`, `lifetime`, `unauthorized`.")
    detail: str = Field(description="A sentence for people.")
    retry_seconds: float | None = Field(
        description="When to connect again; null if that is of no use."
    )
