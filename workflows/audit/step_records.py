"""Rows of a step: they become durable before the run continues."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workflows.models import StageKind, Status

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from uuid import UUID

    from workflows.infra.shared_result import SharedResult


_compact = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)
class StageRow:
    """A stage: part of the run's row while it is in progress, then a row of its own."""

    sequence: int
    node: str
    iteration: int
    status: str
    created_at: dt.datetime
    tries: int = 1
    duration_ms: float | None = None
    items_done: int | None = None
    items_total: int | None = None
    error: str = ""
    waits_for_thread: bool = False
    seal: bytes | None = None  # once it has ended
    kind: str = StageKind.NODE
    undoes: int | None = None  # sequence of the step that it undoes
    progress: dict[str, Any] | None = None  # what its node reported last
    branch: str | None = None  # of which it is a step
    inherited_from: UUID | None = None  # the run that executed it, in a fork

    def as_current(self) -> str:
        """Return the JSON text of `Run.current_stage` while this stage is in progress."""
        fields: dict[str, Any] = {
            "sequence": self.sequence,
            "node": self.node,
            "iteration": self.iteration,
            "tries": self.tries,
            "created_at": self.created_at.isoformat(),
        }
        if self.items_total is not None:
            fields |= {"items_done": self.items_done, "items_total": self.items_total}
        if self.waits_for_thread:
            fields["waits_for_thread"] = True
        if self.kind != StageKind.NODE:
            fields |= {"kind": str(self.kind), "undoes": self.undoes}
        if self.progress is not None:
            fields["progress"] = self.progress
        return _compact(fields)

    def copy(self) -> StageRow:
        """Return a copy to modify after this one has been recorded."""
        return StageRow(
            self.sequence,
            self.node,
            self.iteration,
            self.status,
            self.created_at,
            self.tries,
            self.duration_ms,
            self.items_done,
            self.items_total,
            self.error,
            self.waits_for_thread,
            None,
            self.kind,
            self.undoes,
            self.progress,
            self.branch,
        )


@dataclass(slots=True)
class DecisionRow:
    """An evaluated edge; `taken` is set when the runner follows it."""

    sequence: int
    edge_index: int
    from_node: str
    to_node: str
    predicate: str
    result: bool
    reason: str
    values: str  # JSON text
    created_at: dt.datetime
    taken: bool = False
    decided_by_id: int | None = None
    comment: str = ""
    seal: bytes | None = None
    kind: str | None = None  # a DecisionKind
    inherited_from: UUID | None = None  # the run that decided, in a fork


@dataclass(slots=True)
class CheckpointRow:
    """The state after a step, in full or as a patch."""

    sequence: int
    node: str
    kind: str
    data: str  # JSON text
    created_at: dt.datetime
    failure: str | None = None  # JSON text


@dataclass(slots=True)
class LogRow:
    """A log line, numbered within its attempt."""

    number: int
    sequence: int
    level: int
    message: str
    created_at: dt.datetime


@dataclass(slots=True)
class RetryRow:
    """A try that failed and the wait for the next one."""

    sequence: int
    number: int
    wait_seconds: float
    error: str
    created_at: dt.datetime


@dataclass(slots=True)
class ItemRow:
    """The result of one item of a parallel node."""

    sequence: int
    index: int
    data: str  # JSON text
    tries: int | None = None  # None: not of a parallel node
    duration_ms: float | None = None


@dataclass(slots=True)
class ItemFailureRow:
    """Why one item of a parallel node failed."""

    sequence: int
    index: int
    tries: int
    duration_ms: float
    error_type: str
    error: str


@dataclass(slots=True)
class Ending:
    """The outcome of an attempt."""

    outcome: str
    error_message: str = ""
    error_code: str = ""
    traceback: str = ""


@dataclass(slots=True)
class StepRecord:
    """Rows of one run that are written in one transaction."""

    run_id: UUID
    worker: str
    attempt: int
    workflow: str  # its name
    # the run's row after this record
    sequence: int = 0
    status: str = Status.RUNNING
    progressed: bool = False  # a step completed: resets the count of recoveries
    recovered: bool = False  # released unexpectedly: counts as a recovery
    suspicion: int = 0
    waiting_for: str = ""
    waiting_node: str = ""
    wake_at: dt.datetime | None = None
    result: str | None = None  # JSON text
    error_message: str = ""
    error_code: str = ""
    error_node: str = ""
    completed_at: dt.datetime | None = None
    history_chain_head: bytes = b""  # after this record
    current_stage: str | None = None  # JSON text, see `StageRow.as_current`
    is_stage_changed: bool = False  # the one in progress
    fence_before: int = 0  # Run.fence that the record expects
    fence: int = 0  # and sets
    # rows to insert or update
    stages: list[StageRow] = field(default_factory=list)  # that ended or pause
    decisions: list[DecisionRow] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    items: list[ItemRow] = field(default_factory=list)
    item_failures: dict[tuple[int, int], ItemFailureRow] = field(
        default_factory=dict
    )  # by step and index: a step that is retried may have the same item twice
    retries: list[RetryRow] = field(default_factory=list)
    ending: Ending | None = None
    # rare writes through the ORM (an approval, a child run)
    extra_writes: list[Callable[[], None]] = field(default_factory=list)
    # the run's version once the record is durable, or the error
    committed: SharedResult[int] | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to write."""
        return self.status == Status.RUNNING and not (
            self.stages
            or self.is_stage_changed
            or self.decisions
            or self.checkpoints
            or self.logs
            or self.items
            or self.item_failures
            or self.retries
            or self.extra_writes
            or self.ending
        )
