"""What one step leaves behind: the rows a run wants durable before it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workflows.models import Status

if TYPE_CHECKING:
    import asyncio
    import datetime as dt
    from collections.abc import Callable
    from uuid import UUID


@dataclass(slots=True)
class StageRow:
    """A stage as it stands now; written again each time it moved."""

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

    def copy(self) -> StageRow:
        """Return a stage that can go on while this one stays as it was recorded."""
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
        )


@dataclass(slots=True)
class DecisionRow:
    """An edge evaluated; `taken` is set when the walk followed it."""

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


@dataclass(slots=True)
class CheckpointRow:
    """The state after a step, whole or as a patch."""

    sequence: int
    node: str
    kind: str
    data: str  # JSON text
    created_at: dt.datetime


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
    """The kept result of one item of a parallel node."""

    sequence: int
    index: int
    data: str  # JSON text


@dataclass(slots=True)
class Ending:
    """How an attempt ended: one row of its history."""

    outcome: str
    error_message: str = ""
    error_code: str = ""
    traceback: str = ""


@dataclass(slots=True)
class StepRecord:
    """Everything of one run that becomes durable together, or not at all."""

    run_id: UUID
    worker: str
    attempt: int
    workflow: str  # its name
    # the run's row after this record
    sequence: int = 0
    status: str = Status.RUNNING
    progressed: bool = False  # a step completed: earlier lost workers are forgiven
    recovered: bool = False  # released without a request, which counts as a recovery
    waiting_for: str = ""
    waiting_node: str = ""
    wake_at: dt.datetime | None = None
    result: str | None = None  # JSON text
    error_message: str = ""
    error_code: str = ""
    error_node: str = ""
    completed_at: dt.datetime | None = None
    history_chain_head: bytes = b""  # after this record
    # rows to insert, or to overwrite where they moved on
    stages: list[StageRow] = field(default_factory=list)
    decisions: list[DecisionRow] = field(default_factory=list)
    checkpoints: list[CheckpointRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    items: list[ItemRow] = field(default_factory=list)
    retries: list[RetryRow] = field(default_factory=list)
    ending: Ending | None = None
    # rare companions (an approval, a child run), written through the ORM
    extra_writes: list[Callable[[], None]] = field(default_factory=list)
    # told when the record is durable, or why it never will be
    durable: asyncio.Future[int] | None = None

    @property
    def is_empty(self) -> bool:
        """Tell whether writing it would change nothing."""
        return self.status == Status.RUNNING and not (
            self.stages
            or self.decisions
            or self.checkpoints
            or self.logs
            or self.items
            or self.retries
            or self.extra_writes
            or self.ending
        )
