"""What responses of the API contain. Values that a viewer may not read are null."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field

from workflows.execution.launching import MAX_DEADLINE
from workflows.models import (
    ApprovalStatus,
    ForkKind,
    Level,
    StageKind,
    StageStatus,
    Status,
    WaitKind,
)

NO_NUL = r"^[^\x00]*$"


class Input(BaseModel):
    """A body of a request: an object without unknown fields.

    `ninja.Schema` reads attributes too, so that it accepts an array as an object whose
    fields have their defaults.
    """

    model_config = ConfigDict(extra="forbid")


# Workflows ------------------------------------------------------------------------------


class WorkflowPauseOut(Schema):
    """The pause of a workflow: no run starts, those that have started continue."""

    at: dt.datetime
    by: str = Field(description="Who paused it.")
    reason: str = Field(description="“hidden” if you can’t read its data.")


class PausedWorkflow(WorkflowPauseOut):
    """A pause with its workflow."""

    workflow: str = Field(description="Name of the workflow.")


class WorkflowSummary(Schema):
    """An installed workflow."""

    name: str
    title: str
    description: str
    fingerprint: str = Field(description="Changes with the shape of the workflow.")
    can_launch: bool = Field(description="Whether you may launch it.")
    paused: WorkflowPauseOut | None = Field(
        description="Why and since when it is paused; null if runs start."
    )
    url: str = Field(description="Path of its page.")


class WorkflowDetail(WorkflowSummary):
    """An installed workflow with its params and graph."""

    params: dict[str, Any] = Field(description="JSON Schema of the params of a launch.")
    graph: dict[str, Any] = Field(description="Nodes and edges.")
    profiles: list[str] = Field(description="Names of its profiles.")


# Runs -----------------------------------------------------------------------------------


class RunError(Schema):
    """Why a run failed."""

    code: str
    node: str
    message: str = Field(description="“hidden” if you can’t read its data.")


class Waiting(Schema):
    """What a waiting run waits for."""

    kind: WaitKind
    node: str
    until: dt.datetime | None = Field(None, description="When the wait ends by itself.")


class RunSummary(Schema):
    """A run, as in lists."""

    id: UUID
    workflow: str
    title: str = Field(description="Made of the params; empty if you can’t read them.")
    status: Status
    version: int = Field(description="Rises with each recorded change; the ETag.")
    steps: int = Field(description="Completed steps.")
    attempt: int
    priority: int
    profile: str
    labels: list[str]
    pinned: bool
    launched_by: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    updated_at: dt.datetime
    completed_at: dt.datetime | None
    waiting: Waiting | None
    error: RunError | None
    cancel_requested_at: dt.datetime | None
    deadline_at: dt.datetime | None = Field(
        description="When the run fails, also while it waits."
    )
    ends_as: Status | None = Field(
        description="How the run will end, while its steps are undone or its last node runs."
    )
    steps_to_undo: int | None = Field(description="Completed steps to undo, if any.")
    steps_undone: int | None
    idempotency_key: str | None
    limit_key: str | None = Field(
        description="Key of the limits of its workflow, “” for that of all runs; null without"
        " limits, or if you can’t read its data."
    )
    parent: UUID | None
    url: str = Field(description="Path of its page.")


class BlockedOut(Schema):
    """Why no worker may start a pending run yet."""

    by: Literal["pause", "limit", "debounce"]
    limit: str | None = Field(description="The limit that is full.")
    until: dt.datetime | None = Field(
        description="When a start becomes possible, if that is known."
    )
    runs: list[UUID] = Field(description="Runs that the limit counts, up to 10.")


class ForkOut(Schema):
    """How a run was forked from another one."""

    kind: ForkKind
    shared_steps: int = Field(description="The number of the last shared step.")
    entry: str = Field(description="The node that ran first.")
    change: dict[str, Any] | None = Field(
        description="What was changed; null if you can’t read it, or it was deleted."
    )
    reason: str
    by: str
    created_at: dt.datetime


class RunDetail(RunSummary):
    """A run with its data."""

    hidden: bool = Field(description="Whether you can’t read its data: it is null.")
    params: Any | None
    result: Any | None = Field(description="The final state, null until completed.")
    cancel_reason: str | None
    actions: list[str] = Field(description="Actions that its status and you permit.")
    blocked: BlockedOut | None = Field(
        description="What keeps it from starting while it is pending: a pause of its"
        " workflow, or a limit; null if any worker may start it."
    )
    payload_removed_at: dt.datetime | None = Field(
        description="When retention deleted params, result and states."
    )
    continues: UUID | None = Field(description="The run that it continues.")
    continued_by: UUID | None = Field(description="The run that continues it.")
    launched_by_run: UUID | None = Field(
        description="The run of which a step launched it without waiting for it."
    )
    launched_runs: list[UUID] = Field(
        description="The runs that its steps launched so, the newest first, up to 500."
    )
    forked_from: UUID | None = Field(
        description="The run whose history it shares up to a step, also if that was deleted."
    )
    fork: ForkOut | None = Field(description="The shared steps, and what was changed.")
    forks: list[UUID] = Field(
        description="The runs that were forked from it or rerun, the newest first, up to 100."
    )


class RunPage(Schema):
    """A page of runs, newest first."""

    items: list[RunSummary]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")
    scanned_to: dt.datetime | None = Field(
        None, description="Set if the search reached its limit: continue with `next`."
    )


class Launch(Input):
    """A launch."""

    params: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(0, ge=-100, le=100, description="Higher goes first.")
    deadline_seconds: float | None = Field(
        None,
        gt=0,
        le=MAX_DEADLINE.total_seconds(),
        description="Seconds until the run fails; null: as its workflow declares.",
    )
    profile: str | None = Field(
        None,
        max_length=60,
        description="A profile, “” for none, null to choose by weight.",
    )
    token: str = Field(
        "",
        max_length=500,
        description="Secret for the nodes; deleted at the end of the run.",
    )


class Reason(Input):
    """A reason, which is stored in the audit log."""

    reason: str = Field(min_length=1, max_length=2_000)


class WorkflowReason(Input):
    """A reason, which is stored in the audit log; required unless the workflow asks for none."""

    reason: str = Field(
        "",
        max_length=2_000,
        description="Required unless the workflow declares that it is optional.",
    )


class Resume(WorkflowReason):
    """A resume."""

    token: str = Field("", max_length=500, description="Secret for the nodes.")


class ForkOptions(WorkflowReason):
    """Options of every fork."""

    answers: Literal["new", "recorded"] = Field(
        "new",
        description="Call agents again, or use recorded answers where prompts are equal.",
    )


class Rerun(ForkOptions):
    """A rerun, from the start or from a step. `answers: recorded` requires a step."""

    from_step: int | None = Field(
        None,
        ge=1,
        le=2**31 - 1,
        description="Steps before it are shared, not repeated.",
    )
    state: dict[str, Any] | None = Field(
        None, description="The state before that step, if it is to be another one."
    )
    params: dict[str, Any] | None = Field(None, description="Other parameters.")
    token: str = Field("", max_length=500, description="Secret for the nodes.")


class OverrideDecision(ForkOptions):
    """An edge to take instead of the one that the run took."""

    step: int = Field(ge=1, le=2**31 - 1, description="The step after which it leaves.")
    edge: int = Field(ge=0, le=2**31 - 1, description="Its `edge_index`.")


class ChangedResponse(ForkOptions):
    """Another response to an approval."""

    step: int = Field(ge=1, le=2**31 - 1, description="The step of the approval.")
    value: dict[str, Any] = Field(description="The response.")


class PreviewStepOut(Schema):
    """A step of a run, or a node that may run."""

    node: str
    kind: str
    sequence: int | None = Field(description="null: the run did not reach it.")
    effects: str = Field(description="What its author says about its effects.")


class ForkPreviewOut(Schema):
    """What a fork would share with its origin, and what may run again."""

    shared_steps: int = Field(description="The number of the last shared step.")
    starts_at: str = Field(description="The node that runs first.")
    kept: list[PreviewStepOut]
    again: list[PreviewStepOut] = Field(description="Steps that may run again.")
    new: list[PreviewStepOut] = Field(
        description="Other nodes that may run; the run did not reach them."
    )
    approvals_again: list[str] = Field(
        description="Nodes whose approvals may be requested again."
    )
    children_again: list[str] = Field(description="Nodes that may launch runs again.")


class LabelName(Input):
    """A label."""

    name: str = Field(max_length=200)


class NoteText(Input):
    """A note."""

    text: str = Field(min_length=1, max_length=4_000)


class NoteOut(Schema):
    """A note on a run."""

    author: str
    text: str
    created_at: dt.datetime


# History --------------------------------------------------------------------------------


class ProgressOut(Schema):
    """What a node reported with `runtime.progress()`."""

    done: float | None
    of: float | None = Field(description="Null if the node does not know it.")
    text: str


class StageOut(Schema):
    """One execution of a node."""

    sequence: int = Field(description="Number of the step in the run.")
    kind: StageKind = Field(
        description="“undo” undoes a completed step, “on_end” runs at the end of the run,"
        " “edit” edited the state of a fork."
    )
    undoes: int | None = Field(description="Number of the step that it undoes.")
    branch: str | None = Field(
        description="Branch of which it is a step, null outside of branches."
    )
    attempt: int
    node: str
    iteration: int
    tries: int
    status: StageStatus
    started_at: dt.datetime
    duration_ms: float | None
    items_done: int | None
    items_total: int | None
    progress: ProgressOut | None = Field(
        description="The last report of a node in progress, null at its end."
    )
    error: str
    inherited_from: UUID | None = Field(
        description="The run that executed it, in a fork that shares it; else null."
    )


class StagePage(Schema):
    """Stages in the order of their steps."""

    items: list[StageOut]
    next: str | None


class ItemOut(Schema):
    """An item of a parallel node that has a result, or failed in its last execution."""

    index: int = Field(description="Place among the items, from 0.")
    status: StageStatus = Field(description="“completed” or “failed”.")
    tries: int | None = Field(description="Null in runs of earlier versions.")
    duration_ms: float | None
    error_type: str | None = Field(description="Class of the exception.")
    error: str | None
    value: Any = Field(description="What the item was given; null if not recorded.")
    result: Any
    hidden: bool


class ItemPage(Schema):
    """Items: those that failed first, then those with a result."""

    items: list[ItemOut]
    next: str | None


class DecisionOut(Schema):
    """An edge that was evaluated after a step, and whether the run took it."""

    run: UUID
    workflow: str
    sequence: int
    attempt: int
    edge_index: int
    from_node: str
    to_node: str
    predicate: str = Field(description="“” for an edge without a condition.")
    result: bool = Field(description="Whether the condition was met.")
    taken: bool
    reason: str
    values: dict[str, Any] | None = Field(description="What the condition read.")
    decided_by: str | None
    comment: str
    kind: str | None = Field(
        description="“override” for the choice of a person against the edge that was taken."
    )
    inherited_from: UUID | None = Field(
        description="The run that decided, in a fork that shares it; else null."
    )
    created_at: dt.datetime


class DecisionPage(Schema):
    """A page of decisions."""

    items: list[DecisionOut]
    next: str | None
    scanned_to: dt.datetime | None = None


class StateOut(Schema):
    """The state after a step."""

    sequence: int
    state: Any


class LogLineOut(Schema):
    """A line of a run's log."""

    attempt: int
    number: int
    sequence: int
    level: Level
    message: str
    created_at: dt.datetime


class LogPage(Schema):
    """A page of log lines, oldest first."""

    items: list[LogLineOut]
    next: str | None


class AttemptOut(Schema):
    """A period in which a worker executed the run."""

    number: int
    worker: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str
    error: str
    error_code: str


# Approvals ------------------------------------------------------------------------------


class VoteOut(Schema):
    """The response of one person to an approval that needs several."""

    voter: str
    response: Any | None
    comment: str
    created_at: dt.datetime


class ApprovalOut(Schema):
    """A question to people that a run waits for."""

    run: UUID
    workflow: str
    sequence: int
    node: str
    kind: str
    status: ApprovalStatus
    question: str
    form: dict[str, Any] | None = Field(description="JSON Schema of the response.")
    evidence: dict[str, Any] | None
    initial: dict[str, Any] | None = Field(
        description="The response that the form shows at first, if any."
    )
    groups: list[str] = Field(description="Groups that may respond; [] = all.")
    not_by: str = Field(
        description="Who can’t respond, with any permissions: “launcher” of the run,"
        " or who responded to the “previous” approval; “” = all can."
    )
    votes_needed: int = Field(description="Number of people who have to respond.")
    veto: dict[str, Any] | None = Field(
        description="Values by field: one response with all of them ends the vote."
    )
    votes: list[VoteOut] = Field(
        description="Their responses so far; [] if one is enough."
    )
    can_respond: bool
    refusal: str = Field(
        description="Why you in person can’t respond: excluded, or you have voted."
    )
    created_at: dt.datetime
    expires_at: dt.datetime | None
    response: Any | None = Field(
        description="The response; a list of all responses if several were needed."
    )
    responded_by: str | None
    responded_at: dt.datetime | None
    comment: str
    claimed_by: str | None = Field(
        description="Who is working on the open approval; others may respond as well."
    )
    claimed_until: dt.datetime | None = Field(description="When the claim ends.")
    assigned_to: str | None = Field(
        description="The person or group it was reassigned to; others may respond as well."
    )
    escalates_to: str | None = Field(
        description="The group that it goes to if no one responds; null: none."
    )
    escalates_at: dt.datetime | None = Field(description="When it goes there.")
    escalated_at: dt.datetime | None = Field(
        description="When it went there, by itself or by a person; null: not yet."
    )
    withdrawn_reason: str = Field(
        description="Why no response is needed, such as what came first; “” if it was"
        " not withdrawn."
    )


class ApprovalPage(Schema):
    """A page of approvals, oldest first."""

    items: list[ApprovalOut]
    next: str | None


class Response(Input):
    """A response to an approval."""

    value: dict[str, Any] = Field(description="Fits the form of the approval.")
    reason: str = Field(
        "", max_length=2_000, pattern=NO_NUL, description="Stored with the response."
    )
    sequence: int | None = Field(
        None, ge=0, description="Step of the approval; another one is refused with 409."
    )
