"""Seal rows: those of a step record, stages closed by the sweep, audit events.

The chain of a run's stages and decisions has one writer at a time, the holder of the
fence: its head is read with the claim, kept in memory, and written with each record. The
chain of its audit events has many writers: each locks the run's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.utils import timezone

from workflows.audit import keys, seals
from workflows.audit.row_adapters import stage_row
from workflows.models import (
    AuditEvent,
    HistoryHead,
    RemovedRun,
    Run,
    Stage,
    stored_stage,
)
from workflows.models.status import StageStatus, Status

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from workflows.audit.step_records import StepRecord

CLOSED: Final = frozenset(
    {
        StageStatus.COMPLETED,
        StageStatus.FAILED,
        StageStatus.CANCELLED,
        StageStatus.INTERRUPTED,
    }
)
ENDED_COLUMNS: Final = ("status", "error_message", "duration_ms", "seal")
# that may differ from those of the pause which a stage continued
CONTINUED_COLUMNS: Final = (
    *ENDED_COLUMNS, "iteration", "tries", "items_done", "items_total", "created_at",
    "waits_for_thread",
)  # fmt: skip
# HistoryHead.name of the chain of audit events without a run; stored, so never renamed
WITHOUT_RUN: Final = "deeds"


def seal_record(record: StepRecord, key: bytes, head: bytes) -> bytes:
    """Seal the ended stages and all decisions of a record; return the new head.

    `key` is `keys.sealing()`, looked up once per attempt. A stage in progress is sealed when
    it ends. Idempotent: the same record and head give the same seals.
    """
    run, attempt = record.run_id, record.attempt
    for stage in record.stages:
        if stage.status in CLOSED:
            fields = seals.stage_fields(run, attempt, stage)
            stage.seal, head = seals.add(key, head, fields)
    for row in record.decisions:
        values = seals.payload_digest_of_text(row.values)
        fields = seals.decision_fields(run, record.workflow, attempt, row, values)
        row.seal, head = seals.add(key, head, fields)
    return head


def head_of(stored: bytes | memoryview | None, run_id: UUID) -> bytes:
    """Return the stored head of a run's steps, or the start of the chain if it is null."""
    return bytes(stored) if stored else seals.start(seals.steps_of(run_id))


def begin(run: Run) -> None:
    """Set the heads of a run before it is inserted: two chains without seals."""
    run.history_chain_head = seals.start(seals.steps_of(run.pk))
    run.audit_chain_head = seals.start(seals.audit_chain_of(run.pk))


def interrupt(run_id: UUID) -> None:
    """Close and seal the stages that an attempt left open.

    Those are the stage in progress, which becomes a row, and, if the run has ended, the one
    at which it paused: the next attempt of a run that has not ended continues the pause.
    Call it in the transaction that moves the run, after that: the run's row is locked, and
    the fence keeps a lost worker from writing.
    """
    columns = "status", "error_message", "history_chain_head", "attempt", "closing"
    run = Run.objects.only(*columns, "current_stage").get(pk=run_id)
    status, message = run.status, run.error_message
    if run.closing is not None:  # how it ends is decided
        status, message = run.closing["status"], run.closing["message"]
    key, now = keys.sealing(), timezone.now()
    head = head_of(run.history_chain_head, run_id)
    for stage in _left_open(run):
        if stage.status == StageStatus.WAITING:
            is_cancelled = status == Status.CANCELLED
            ended = StageStatus.CANCELLED if is_cancelled else StageStatus.INTERRUPTED
            _end_wait(stage, ended, message, now)
        else:
            stage.status = StageStatus.INTERRUPTED
        stage.seal, head = _sealed_stage(stage, key, head)
        _store(stage)
    Run.objects.filter(pk=run_id).update(history_chain_head=head, current_stage=None)


def _left_open(run: Run) -> list[Stage]:
    """Return the stages of a run that are still open, in order; the last has no key.

    There may be a row of the stage in progress: that of the pause which it continued.
    """
    is_over = run.is_ended or run.closing is not None
    is_open = [StageStatus.STARTED, *([StageStatus.WAITING] if is_over else [])]
    stages = Stage.objects.filter(run=run, status__in=is_open)
    open_stages = list(stages.order_by("attempt", "sequence"))
    current = stored_stage(run)
    if current is None:
        return open_stages
    return [*(one for one in open_stages if one.place != current.place), current]


def _store(stage: Stage) -> None:
    """Update a stage that was closed, or insert the one that was in progress."""
    if stage.pk is not None:
        stage.save(update_fields=ENDED_COLUMNS)
        return
    Stage.objects.bulk_create(
        [stage],
        update_conflicts=True,  # with the pause that it continued
        unique_fields=["run", "attempt", "sequence"],
        update_fields=CONTINUED_COLUMNS,
    )


def _end_wait(
    stage: Stage, status: StageStatus, message: str, now: dt.datetime
) -> None:
    """Set the final values of a stage that was waiting when its run ended."""
    stage.status, stage.error_message = status, message
    stage.duration_ms = (now - stage.created_at).total_seconds() * 1_000


def cancel_waiting(runs: Iterable[Run], reason: str) -> None:
    """Close and seal the stages at which cancelled runs were waiting.

    A pending run may have one, too: its wait is over, and no worker has claimed it yet.

    Call it in the transaction that cancels them, with the runs as they were read under a
    lock. Executes three statements for any number of runs.
    """
    waiting = {run.pk: run for run in runs if run.status != Status.RUNNING}
    rows = Stage.objects.filter(run__in=waiting, status=StageStatus.WAITING)
    stages = list(rows.order_by("run_id", "attempt", "sequence"))
    key, now = keys.sealing(), timezone.now()
    for stage in stages:
        run = waiting[stage.run_id]
        _end_wait(stage, StageStatus.CANCELLED, reason, now)
        head = head_of(run.history_chain_head, run.pk)
        stage.seal, run.history_chain_head = _sealed_stage(stage, key, head)
    if stages:
        Stage.objects.bulk_update(stages, ENDED_COLUMNS)
        Run.objects.bulk_update(waiting.values(), ["history_chain_head"])


def _sealed_stage(stage: Stage, key: bytes, head: bytes) -> tuple[bytes, bytes]:
    """Return the seal of a stage in its final status, and the new head."""
    fields = seals.stage_fields(stage.run_id, stage.attempt, stage_row(stage))
    return seals.add(key, head, fields)


def seal_first(run: Run, event: AuditEvent) -> None:
    """Seal the launch event of a run, before both are inserted."""
    run.audit_chain_head = _sealed(event, seals.start(seals.audit_chain_of(run.pk)))


def append(event: AuditEvent) -> None:
    """Seal an event as the newest of its run, or of those without one, and insert it."""
    with transaction.atomic(savepoint=False):
        if event.run_id is None:
            HistoryHead.objects.get_or_create(
                name=WITHOUT_RUN,
                defaults={"head": seals.start(seals.audit_chain_of(None))},
            )
            heads = HistoryHead.objects.filter(name=WITHOUT_RUN)
            head = heads.select_for_update().values_list("head", flat=True).get()
            heads.update(head=_sealed(event, bytes(head)))
        else:
            _append_to_run(event, event.run_id)
        event.save(force_insert=True)


def append_to_runs(events: Sequence[AuditEvent]) -> None:
    """Seal one event each of different runs and insert them, in a few statements.

    Call it in a transaction. Raises Run.DoesNotExist.
    """
    ids = [event.run_id for event in events if event.run_id is not None]
    locked = Run.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    runs = {run.pk: run for run in locked.only("audit_chain_head")}
    for event in events:
        if event.run_id is None or event.run_id not in runs:
            raise Run.DoesNotExist(f"Run {event.run_id} does not exist.")
        run = runs[event.run_id]
        run.audit_chain_head = _sealed(
            event, _audit_head_of(run.audit_chain_head, run.pk)
        )
    Run.objects.bulk_update(runs.values(), ["audit_chain_head"])
    AuditEvent.objects.bulk_create(events)


def _append_to_run(event: AuditEvent, run_id: UUID) -> None:
    for model in (Run, RemovedRun):
        rows = model.objects.filter(pk=run_id)
        stored = rows.select_for_update().values_list("audit_chain_head").first()
        if stored is not None:
            head = _audit_head_of(stored[0], run_id)
            rows.update(audit_chain_head=_sealed(event, head))
            return
    raise Run.DoesNotExist(
        f"Run {run_id} does not exist: cannot append an audit event."
    )


def _audit_head_of(stored: bytes | memoryview | None, run_id: UUID) -> bytes:
    return bytes(stored) if stored else seals.start(seals.audit_chain_of(run_id))


def _sealed(event: AuditEvent, head: bytes) -> bytes:
    """Seal an event after this head; return the new head."""
    event.seal, head = seals.add(keys.sealing(), head, seals.audit_event_fields(event))
    return head
