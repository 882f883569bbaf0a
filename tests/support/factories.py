"""Rows as tests want them: every field has a default, whatever matters is named."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.files.base import ContentFile
from django.utils import timezone

from workflows.audit.records import StageRow
from workflows.models import (
    ENDED,
    Approval,
    ApprovalStatus,
    Attempt,
    AuditEvent,
    Checkpoint,
    Decision,
    Document,
    Level,
    LogLine,
    Note,
    Outcome,
    Retry,
    Run,
    Schedule,
    ScheduleMoment,
    Stage,
    StageStatus,
    Status,
    WaitKind,
    Worker,
    current_stage,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import Group, User

WORKER = "worker-1"
_numbers = itertools.count(1)

GRAPH: dict[str, Any] = {
    "entry": "read_pages",
    "exits": ["publish", "reject"],
    "nodes": [
        {"name": "read_pages", "kind": "node", "doc": "Fetch the text of every page."},
        {"name": "judge_pages", "kind": "parallel", "doc": "Judge each page."},
        {"name": "weigh", "kind": "node", "doc": "Weigh the verdicts into one."},
        {"name": "review", "kind": "approval", "doc": "Ask a person."},
        {"name": "publish", "kind": "node", "doc": "Publish the classification."},
        {"name": "reject", "kind": "node", "doc": "Reject it."},
    ],
    "edges": [
        {"source": "read_pages", "target": "judge_pages", "index": 0},
        {"source": "judge_pages", "target": "weigh", "index": 0},
        {
            "source": "weigh",
            "target": "publish",
            "index": 0,
            "predicate": "is_confident",
        },
        {"source": "weigh", "target": "review", "index": 1},
        {
            "source": "review",
            "target": "publish",
            "index": 0,
            "predicate": "was_approved",
        },
        {"source": "review", "target": "weigh", "index": 1, "predicate": "judge_again"},
        {"source": "review", "target": "reject", "index": 2},
    ],
}
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Review",
    "properties": {
        "outcome": {"enum": ["publish", "judge again", "reject"], "type": "string"},
        "label": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["outcome"],
}


def make_user(name: str = "", **fields: Any) -> User:
    """Return a person with an account."""
    from django.contrib.auth.models import User

    return User.objects.create_user(name or f"person-{next(_numbers)}", **fields)


def make_run(*, status: str = Status.COMPLETED, **fields: Any) -> Run:
    """Return a run in this status, with the times and the lease that go with it."""
    now = timezone.now()
    begun = now - dt.timedelta(seconds=12)
    values: dict[str, Any] = {
        "workflow_name": "classify-document",
        "status": status,
        "params": {"threshold": 0.8},
        "graph": GRAPH,
        "created_at": begun - dt.timedelta(seconds=1),
        "started_at": None if status == Status.PENDING else begun,
        "completed_at": now if status in ENDED else None,
        "attempt": 0 if status == Status.PENDING else 1,
        "worker": "" if status == Status.PENDING else WORKER,
        "version": 1,
    }
    if status == Status.RUNNING:
        values["lease_expires_at"] = now + dt.timedelta(seconds=30)
    if status == Status.COMPLETED:
        values["result"] = {"label": "restricted", "confidence": 0.93}
    if status == Status.FAILED:
        values |= {
            "error_message": "The document could not be opened.",
            "error_code": "node_failed",
            "error_node": "read_pages",
        }
    if status == Status.WAITING:
        values |= {"waiting_for": WaitKind.APPROVAL, "waiting_node": "review"}
    return Run.objects.create(**{**values, **fields})


def make_attempt(run: Run, *, number: int = 1, **fields: Any) -> Attempt:
    """Return an attempt of a run, finished by default."""
    now = timezone.now()
    values = {
        "worker": run.worker or WORKER,
        "started_at": run.started_at or now,
        "ended_at": now,
        "outcome": Outcome.COMPLETED,
    }
    return Attempt.objects.create(run=run, number=number, **{**values, **fields})


def make_stage(
    run: Run, node: str = "read_pages", *, sequence: int = 1, **fields: Any
) -> Stage:
    """Return a stage of a run, completed by default; one that started is the current one."""
    values: dict[str, Any] = {
        "attempt": run.attempt or 1,
        "iteration": sequence,
        "status": StageStatus.COMPLETED,
        "duration_ms": 120.0,
        **fields,
    }
    if values["status"] == StageStatus.STARTED:
        return make_current_stage(run, node, sequence=sequence, **fields)
    return Stage.objects.create(run=run, node_name=node, sequence=sequence, **values)


def make_current_stage(
    run: Run, node: str = "read_pages", *, sequence: int = 1, **fields: Any
) -> Stage:
    """Return the stage in progress of a running run, stored as its worker stores it."""
    for name in ("status", "duration_ms", "attempt"):
        fields.pop(name, None)
    row = StageRow(
        **{
            "sequence": sequence,
            "node": node,
            "iteration": sequence,
            "status": StageStatus.STARTED,
            "created_at": timezone.now(),
            **fields,
        }
    )
    run.current_stage = json.loads(row.as_current())
    run.save(update_fields=["current_stage"])
    stage = current_stage(run)
    assert stage is not None, "the run has to be running"
    return stage


def make_decision(  # noqa: PLR0913 - what a decision says
    run: Run,
    source: str = "weigh",
    target: str = "publish",
    *,
    sequence: int = 3,
    index: int = 0,
    taken: bool = True,
    **fields: Any,
) -> Decision:
    """Return a decision of a run, taken by default."""
    values: dict[str, Any] = {
        "attempt": run.attempt or 1,
        "workflow_name": run.workflow_name,
        "predicate_name": "is_confident",
        "predicate_result": taken,
        "reason": "confidence 93%, threshold 80%",
        "values": {"confidence": 0.93},
    }
    return Decision.objects.create(
        run=run,
        from_node=source,
        to_node=target,
        sequence=sequence,
        edge_index=index,
        taken=taken,
        **{**values, **fields},
    )


def make_line(run: Run, message: str = "12 pages read.", **fields: Any) -> LogLine:
    """Return a log line of a run."""
    values = {
        "attempt": run.attempt or 1,
        "number": run.log_lines.count() + 1,
        "sequence": 1,
        "level": Level.INFO,
    }
    return LogLine.objects.create(run=run, message=message, **{**values, **fields})


def make_checkpoint(run: Run, *, sequence: int = 0, **fields: Any) -> Checkpoint:
    """Return a checkpoint of a run: a whole, empty state by default."""
    values = {
        "attempt": run.attempt or 1,
        "kind": Checkpoint.Kind.FULL,
        "data": "{}",
        "bytes": 2,
    }
    return Checkpoint.objects.create(run=run, sequence=sequence, **{**values, **fields})


def make_approval(run: Run | None = None, **fields: Any) -> Approval:
    """Return an open question, of a run that waits for it unless one is given."""
    values: dict[str, Any] = {
        "sequence": 4,
        "node_name": "review",
        "question": "Is “restricted” right?",
        "form": ANSWER_SCHEMA,
        "status": ApprovalStatus.OPEN,
    }
    if run is None:
        run = make_run(status=Status.WAITING)
    return Approval.objects.create(run=run, **{**values, **fields})


def make_document(
    name: str = "handbook.pdf", content: bytes = b"", **fields: Any
) -> Document:
    """Return a document; its content need not be a PDF that opens."""
    content = content or f"%PDF-1.7 {next(_numbers)}".encode()
    values = {
        "content_type": "application/pdf",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "page_count": 3,
    }
    document = Document(name=name, **{**values, **fields})
    document.file.save(f"{document.sha256}.pdf", ContentFile(content), save=False)
    document.save()
    return document


def make_worker(name: str = WORKER, **fields: Any) -> Worker:
    """Return a worker that is alive."""
    values = {"host": "here", "pid": 1, "capacity": 8}
    return Worker.objects.create(name=name, **{**values, **fields})


def make_audit_event(run: Run, **fields: Any) -> AuditEvent:
    """Return something a person did to a run."""
    values = {"actor_name": "alice", "action": "cancel", "reason": "wrong document"}
    return AuditEvent.objects.create(run=run, **{**values, **fields})


def make_moment(**fields: Any) -> ScheduleMoment:
    """Return a moment of a schedule of its own."""
    number = next(_numbers)
    schedule = Schedule.objects.create(
        workflow_name="classify-document",
        name=f"schedule-{number}",
        cron="0 0 * * *",
        zone="UTC",
    )
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return ScheduleMoment.objects.create(
        **{"schedule": schedule, "moment": at, **fields}
    )


def make_note(run: Run, text: str = "The press is back.", **fields: Any) -> Note:
    """Return what someone wrote about a run."""
    return Note.objects.create(run=run, author_name="alice", text=text, **fields)


def make_retry(run: Run, *, sequence: int = 1, **fields: Any) -> Retry:
    """Return a try of a step that failed and was followed by another."""
    values = {"attempt": run.attempt or 1, "number": 1, "wait_seconds": 2.0}
    return Retry.objects.create(run=run, sequence=sequence, **{**values, **fields})


def make_whole_run(
    steps: Sequence[str] = ("read_pages", "judge_pages", "weigh", "publish"),
    **fields: Any,
) -> Run:
    """Return a completed run with these steps and all their rows."""
    run = make_run(**fields)
    make_attempt(run)
    for sequence, node in enumerate(steps, 1):
        make_stage(run, node, sequence=sequence)
        make_line(run, f"{node} done", sequence=sequence)
        for edge in _ways_out(node):
            following = steps[sequence] if sequence < len(steps) else ""
            make_decision(
                run,
                node,
                edge["target"],
                sequence=sequence,
                index=edge["index"],
                taken=edge["target"] == following,
                predicate_name=edge.get("predicate", ""),
            )
    return run


def _ways_out(node: str) -> list[Mapping[str, Any]]:
    return [edge for edge in GRAPH["edges"] if edge["source"] == node]


def make_role(name: str) -> Group:
    """Return one of the roles, or the group of this name; emptied databases lack them."""
    from django.contrib.auth.models import Group, Permission

    from workflows.access import roles

    roles.create_missing(Group, Permission)
    return Group.objects.get_or_create(name=name)[0]
