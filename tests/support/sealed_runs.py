"""Runs with a sealed history, created without a worker, and the findings for them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from workflows.audit import audit_events, keys
from workflows.audit.seal_rows import head_of, seal_record
from workflows.audit.step_records import DecisionRow, StageRow, StepRecord
from workflows.audit.verifier import Checker
from workflows.execution import queue, sql
from workflows.execution.record_rows import rows_of
from workflows.models import Run, StageStatus, Status

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WORKER = "sealing"


@dataclass
class Step:
    """The values that a step records; every field has a default."""

    node: str = "weigh"
    reasons: Sequence[str] = ("confidence 93%, threshold 80%",)
    values: Mapping[str, Any] = field(default_factory=lambda: {"confidence": 0.93})
    duration_ms: float = 12.5
    status: str = StageStatus.COMPLETED
    error: str = ""
    items: int | None = None
    decided_by: int | None = None
    comment: str = ""
    created_at: dt.datetime | None = None


THREE = (Step("read"), Step("weigh", ("a", "b")), Step("publish", ()))


def launch(by: User | None = None, workflow: str = "sum") -> Run:
    """Return a queued run with the audit event of its launch."""
    run = Run(workflow_name=workflow, launched_by=by)
    queue.enqueue(run, audit_events.entry(run, "launch", by=by, after=Status.PENDING))
    return run


def sealed_run(
    steps: Iterable[Step] = THREE,
    *,
    by: User | None = None,
    status: str = Status.COMPLETED,
    workflow: str = "sum",
) -> Run:
    """Return a run with these steps, stored as by its recorder."""
    run = launch(by, workflow)
    (claimed,) = queue.claim(WORKER, 1).runs
    head = head_of(claimed.history_chain_head, run.pk)
    sequence = 0
    for sequence, step in enumerate(steps, 1):
        record = record_of(claimed, sequence, step)
        head = write(record, head)
    ending = record_for(claimed, sequence)
    ending.status, ending.completed_at = status, timezone.now()
    write(ending, head)
    run.refresh_from_db()
    return run


def record_for(run: Run, sequence: int) -> StepRecord:
    """Return an empty record of a run at a step."""
    return StepRecord(
        run.pk,
        WORKER,
        run.attempt,
        run.workflow_name,
        sequence,
        fence_before=run.fence,
        fence=run.fence,
    )


def record_of(run: Run, sequence: int, step: Step) -> StepRecord:
    """Return the record of an ended step."""
    at = step.created_at or timezone.now()
    record = record_for(run, sequence)
    record.progressed = True
    record.stages = [
        StageRow(
            sequence,
            step.node,
            1,
            step.status,
            at,
            duration_ms=step.duration_ms,
            items_done=step.items,
            items_total=step.items,
            error=step.error,
        )
    ]
    record.decisions = [
        DecisionRow(
            sequence,
            index,
            step.node,
            "next",
            "is_confident",
            result=index == 0,
            reason=reason,
            values=json.dumps(step.values),
            created_at=at,
            taken=index == 0,
            decided_by_id=step.decided_by,
            comment=step.comment,
        )
        for index, reason in enumerate(step.reasons)
    ]
    return record


def write(record: StepRecord, head: bytes) -> bytes:
    """Seal a record and write it, as the writer does; return the head after it."""
    head = record.history_chain_head = seal_record(record, keys.sealing(), head)
    with transaction.atomic():
        assert sql.driver().write_records(rows_of([record]))
    return head


def found() -> list[str]:
    """Return the findings for the whole history."""
    return [str(finding) for finding in Checker().everything()]


def found_in(run: Run) -> list[str]:
    """Return the findings for one run."""
    return [str(finding) for finding in Checker().run(run.pk)]


def found_in_sealed_runs() -> list[str]:
    """Return the findings for all runs that were launched through System."""
    runs = Run.objects.exclude(audit_chain_head=None).exclude(history_chain_head=None)
    return [text for run in runs for text in found_in(run)]
