"""What responses about documents, bulk actions, workers, audit and agent calls contain."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from workflows.api.filters import RunSelection
from workflows.api.schemas import Input, RunSummary
from workflows.bulk import BULK_ACTIONS, MAX_RUNS
from workflows.models import CallReplay, CallStatus, Status

# Trees and comparisons ------------------------------------------------------------------


class TreeRun(Schema):
    """A run of a tree."""

    id: UUID
    parent: UUID | None
    parent_step: int | None = Field(description="Step of the parent that launched it.")
    depth: int = Field(description="0 for the topmost run that you may see.")
    workflow: str
    status: Status
    created_at: dt.datetime
    completed_at: dt.datetime | None


class RunTree(Schema):
    """The runs above and below a run that you may see, level by level."""

    root: UUID
    runs: list[TreeRun]
    truncated: bool = Field(description="Whether there are more runs than these.")


class Difference(Schema):
    """The first difference between the paths of two runs."""

    common_steps: int
    description: str
    node: str = Field(description="Node after which they differ, “” if it is no edge.")


class ComparedNode(Schema):
    """The executions of a node in both runs."""

    node: str
    duration_ms_a: float | None
    duration_ms_b: float | None
    executions_a: int
    executions_b: int


class ComparisonOut(Schema):
    """A comparison of two runs."""

    a: UUID
    b: UUID
    same_workflow: bool
    same_graph: bool
    first_difference: Difference
    nodes: list[ComparedNode]


# Agents ---------------------------------------------------------------------------------


class PromptMessage(Schema):
    """A message of a stored prompt."""

    role: str
    text: str
    tool_calls: str = Field(description="JSON; empty without calls of tools.")
    images: list[str] = Field(description="A description of each image.")
    cut: str = Field(description="A mark if the text is cut; empty if it is whole.")


class CallContentOut(Schema):
    """What a call sent and what came back, with secrets masked."""

    prompt: list[PromptMessage]
    messages_left_out: int = Field(description="At the end of a prompt too long.")
    answer: str | None
    answer_cut: str = Field(description="A mark if it is cut; empty if it is whole.")
    tool_calls: str = Field(description="Calls of tools as JSON; empty without any.")
    tool_calls_cut: str
    problem: str = Field(description="Why the answer could not be parsed, or empty.")


class CallOut(Schema):
    """A call of an agent."""

    id: UUID
    run: UUID | None
    workflow: str
    attempt: int
    sequence: int = Field(description="Step of the run.")
    item: int | None = Field(description="Item of a parallel node.")
    kind: str
    agent: str
    provider: str
    model: str
    status: CallStatus
    tokens_in: int
    tokens_out: int
    estimated: bool = Field(description="Whether the tokens were estimated.")
    cost: str | None = Field(description="Decimal; null without a price.")
    duration_ms: float
    tries: int
    error_code: str
    error: str
    created_at: dt.datetime
    replay: CallReplay | None = Field(
        description="In a fork that replays: whether the recorded answer was used."
    )
    replayed_from: UUID | None = Field(description="The call with that answer.")
    content: CallContentOut | None = Field(
        description="With `content=true`, where it is stored and you may read it."
    )


class CallPage(Schema):
    """A page of agent calls, oldest first."""

    items: list[CallOut]
    next: str | None


# Documents ------------------------------------------------------------------------------


class DocumentOut(Schema):
    """An uploaded document."""

    id: UUID
    name: str
    size: int = Field(description="Bytes.")
    sha256: str
    content_type: str
    pages: int | None
    uploaded_by: str | None
    created_at: dt.datetime
    url: str = Field(description="Path of its page.")


class DocumentPage(Schema):
    """A page of documents, newest first."""

    items: list[DocumentOut]
    next: str | None


class RunFileOut(Schema):
    """A file that a run made."""

    id: UUID = Field(description="In the result of the run, this id is the file.")
    run: UUID
    node: str
    sequence: int = Field(description="The step that made it.")
    attempt: int
    name: str
    size: int = Field(description="Bytes.")
    sha256: str
    content_type: str = Field(
        description="As the workflow states it; downloads are attachments of a type that"
        " no browser renders."
    )
    created_at: dt.datetime
    url: str = Field(description="Path of the download.")


class RunFilePage(Schema):
    """A page of files of a run, oldest first."""

    items: list[RunFileOut]
    next: str | None


# Bulk actions ---------------------------------------------------------------------------

ActionName = Literal[
    "cancel",
    "resume",
    "rerun",
    "rerun-failed",
    "release",
    "pin",
    "label",
    "unlabel",
    "delete",
]
if set(BULK_ACTIONS) != set(ActionName.__args__):  # type: ignore[attr-defined]
    raise AssertionError("The API must name every bulk action.")


class BulkSelection(Input):
    """An action and the runs to apply it to: ids, or the filters of a list."""

    action: ActionName
    runs: list[UUID] | None = Field(
        None, max_length=MAX_RUNS, description="Ids; null to select by `filters`."
    )
    filters: RunSelection | None = Field(
        None, description=f"Selects up to {MAX_RUNS:,} of the newest runs that match."
    )


class BulkPreview(Schema):
    """What an action would be applied to."""

    total: int = Field(description="Selected runs that you may see.")
    applicable: int = Field(description="Those whose status and you permit it.")
    confirmation: str = Field(
        description="Pass it on: runs launched later are not affected, and a repeated"
        " request starts one operation only."
    )


class BulkStart(BulkSelection):
    """A bulk action."""

    reason: str = Field("", max_length=2_000, description="Required except for labels.")
    label: str = Field("", max_length=200)
    confirmation: str = Field(
        "", max_length=500, description="Of the preview of the same selection."
    )


class BulkOut(Schema):
    """A bulk operation."""

    id: UUID
    action: str
    label: str | None
    reason: str | None
    requested_by: str
    total: int
    done: int
    refused: int
    remaining: int
    created_at: dt.datetime
    ended_at: dt.datetime | None
    cancelled: bool
    url: str = Field(description="Path of its page.")


class BulkItemOut(Schema):
    """The result for one run."""

    position: int
    run: UUID | None = Field(description="Null: a row that launched none.")
    workflow: str
    result: str = Field(description="“done”, “refused”, or “” while it is open.")
    message: str


class BulkItemPage(Schema):
    """A page of results, in order."""

    items: list[BulkItemOut]
    next: str | None


# Audit and workers ----------------------------------------------------------------------


class AuditEventOut(Schema):
    """An event of the audit log."""

    id: int
    actor: str
    token: str | None = Field(description="API token that was used.")
    address: str
    action: str
    run: UUID | None
    workflow: str
    reason: str
    status_before: str
    status_after: str
    before: Any | None
    after: Any | None
    hidden: bool = Field(description="Whether you can’t read reason and values.")
    created_at: dt.datetime


class AuditPage(Schema):
    """A page of audit events, newest first."""

    items: list[AuditEventOut]
    next: str | None
    scanned_to: dt.datetime | None = None


class WorkerOut(Schema):
    """A worker process."""

    name: str
    host: str
    status: Literal["alive", "silent", "stopped"]
    capacity: int
    occupied: int = Field(description="Slots held by code that ignores its stop.")
    blocked: bool = Field(description="Whether a node blocks all of its runs.")
    runs: list[RunSummary] = Field(description="Those that you may see.")
    started_at: dt.datetime
    heartbeat_at: dt.datetime
    stopped_at: dt.datetime | None


class QueueOut(Schema):
    """The pending runs of a workflow."""

    workflow: str
    pending: int
    since: dt.datetime = Field(description="Since when the first of them waits.")


class WorkersOut(Schema):
    """Workers and the queue."""

    workers: list[WorkerOut]
    queue: list[QueueOut]


# Agents, profiles, views ----------------------------------------------------------------


class AgentOut(Schema):
    """A named model that workflows call."""

    name: str
    model: str = Field(description="Name of the model at its provider.")
    provider: str
    capabilities: list[str]
    default: bool = Field(description="Whether it is used if a workflow names none.")
    enabled: bool = Field(description="Whether it and its provider are enabled.")


class ProfileOut(Schema):
    """Settings of the prompts of a workflow, under a name."""

    name: str
    description: str
    weight: int = Field(description="Share of the launches that choose no profile.")
    stages: dict[str, Any] | None = Field(
        description="Settings by prompt; null unless you manage agents."
    )


class ViewOut(Schema):
    """A saved view of the list of runs."""

    id: int
    name: str
    owner: str
    shared: bool
    query: dict[str, str] = Field(description="Filters and columns of the page.")
    own: bool = Field(description="Whether it is yours.")
