"""Sealing: the rows of a step record, a stage that the sweep closes, what people did.

The chain of a run's stages and decisions has one writer at a time, whoever holds the
fence: its head is read with the claim, kept in memory, and written with each record. The
chain of its deeds is written by many: by whoever holds the lock on the run's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.utils import timezone

from workflows.audit import keys, seals
from workflows.audit.row_adapters import stage_row
from workflows.models import HistoryHead, Intervention, RemovedRun, Run, Stage
from workflows.models.status import StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from workflows.audit.records import StepRecord

CLOSED: Final = frozenset(
    {
        StageStatus.COMPLETED,
        StageStatus.FAILED,
        StageStatus.CANCELLED,
        StageStatus.INTERRUPTED,
    }
)
ENDED_COLUMNS: Final = ("status", "error_message", "duration_ms", "seal")
OF_NO_RUN: Final = (
    "deeds"  # the head of the chain of deeds that no run is the subject of
)


def seal_record(record: StepRecord, head: bytes) -> bytes:
    """Seal what has ended in a record and all its decisions; return the head after it.

    What is still under way is sealed when it ends. The same record sealed again from the
    same head is the same.
    """
    key, run, attempt = keys.sealing(), record.run_id, record.attempt
    for stage in record.stages:
        if stage.status in CLOSED:
            facts = seals.stage_fields(run, attempt, stage)
            stage.seal, head = seals.add(key, head, facts)
    for row in record.decisions:
        values = seals.payload_digest_of_text(row.values)
        facts = seals.decision_fields(run, record.workflow, attempt, row, values)
        row.seal, head = seals.add(key, head, facts)
    return head


def head_of(chain: bytes | memoryview | None, run_id: UUID) -> bytes:
    """Return the head of a run's steps as it was read, the start where there is none."""
    return bytes(chain) if chain else seals.start(seals.steps_of(run_id))


def begin(run: Run) -> None:
    """Give a run that is about to be inserted the heads of chains without seals."""
    run.chain = seals.start(seals.steps_of(run.pk))
    run.deeds = seals.start(seals.audit_chain_of(run.pk))


def interrupt(run_id: UUID) -> None:
    """Close and seal the stages that a lost worker left under way.

    Call it in the transaction that takes the run away from it: the run's row is locked,
    and the fence keeps the lost worker from writing.
    """
    chain = Run.objects.filter(pk=run_id).values_list("chain", flat=True).get()
    key, head = keys.sealing(), head_of(chain, run_id)
    left = Stage.objects.filter(run=run_id, status=StageStatus.STARTED)
    for stage in left.order_by("attempt", "sequence"):
        stage.status = StageStatus.INTERRUPTED
        head = _close(stage, key, head)
    Run.objects.filter(pk=run_id).update(chain=head)


def cancel_waiting(runs: Iterable[Run], reason: str) -> None:
    """Close and seal the stages at which runs waited when they were cancelled.

    Call it in the transaction that cancels them, with the runs as they were read under a
    lock. Takes three statements, however many runs there are.
    """
    waiting = {run.pk: run for run in runs if run.status == Status.WAITING}
    left = Stage.objects.filter(run__in=waiting, status=StageStatus.WAITING)
    stages = list(left.order_by("run_id", "attempt", "sequence"))
    key, now = keys.sealing(), timezone.now()
    for stage in stages:
        run = waiting[stage.run_id]
        stage.status = StageStatus.CANCELLED
        stage.error_message = reason
        stage.duration_ms = (now - stage.created_at).total_seconds() * 1_000
        stage.seal, run.chain = _sealed_stage(stage, key, head_of(run.chain, run.pk))
    if stages:
        Stage.objects.bulk_update(stages, ENDED_COLUMNS)
        Run.objects.bulk_update(waiting.values(), ["chain"])


def _close(stage: Stage, key: bytes, head: bytes) -> bytes:
    """Seal and save a stage that has its last status; return the head after it."""
    stage.seal, head = _sealed_stage(stage, key, head)
    stage.save(update_fields=ENDED_COLUMNS)
    return head


def _sealed_stage(stage: Stage, key: bytes, head: bytes) -> tuple[bytes, bytes]:
    """Return the seal of a stage that has its last status, and the head after it."""
    facts = seals.stage_fields(stage.run_id, stage.attempt, stage_row(stage))
    return seals.add(key, head, facts)


def seal_first(run: Run, deed: Intervention) -> None:
    """Seal the deed that launches a run, which is about to be inserted with it."""
    run.deeds = _sealed(deed, seals.start(seals.audit_chain_of(run.pk)))


def append(deed: Intervention) -> None:
    """Seal a deed as the newest of its run, or of those of no run, and insert it."""
    with transaction.atomic(savepoint=False):
        if deed.run_id is None:
            HistoryHead.objects.get_or_create(
                name=OF_NO_RUN,
                defaults={"head": seals.start(seals.audit_chain_of(None))},
            )
            heads = HistoryHead.objects.filter(name=OF_NO_RUN)
            head = heads.select_for_update().values_list("head", flat=True).get()
            heads.update(head=_sealed(deed, bytes(head)))
        else:
            _append_to_run(deed, deed.run_id)
        deed.save(force_insert=True)


def append_to_runs(deeds: Sequence[Intervention]) -> None:
    """Seal deeds, one each of different runs, and insert them, in a few statements.

    Call it in a transaction. Raises Run.DoesNotExist.
    """
    ids = [deed.run_id for deed in deeds if deed.run_id is not None]
    locked = Run.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    runs = {run.pk: run for run in locked.only("deeds")}
    for deed in deeds:
        if deed.run_id is None or deed.run_id not in runs:
            raise Run.DoesNotExist(f"There is no run {deed.run_id} to append to.")
        run = runs[deed.run_id]
        head = (
            bytes(run.deeds) if run.deeds else seals.start(seals.audit_chain_of(run.pk))
        )
        run.deeds = _sealed(deed, head)
    Run.objects.bulk_update(runs.values(), ["deeds"])
    Intervention.objects.bulk_create(deeds)


def _append_to_run(deed: Intervention, run_id: UUID) -> None:
    for model in (Run, RemovedRun):
        rows = model.objects.filter(pk=run_id)
        found = rows.select_for_update().values_list("deeds").first()
        if found is not None:
            start = seals.start(seals.audit_chain_of(run_id))
            head = bytes(found[0]) if found[0] else start
            rows.update(deeds=_sealed(deed, head))
            return
    raise Run.DoesNotExist(f"There is no run {run_id} to which something was done.")


def _sealed(deed: Intervention, head: bytes) -> bytes:
    """Seal a deed after this head; return the head after it."""
    deed.seal, head = seals.add(keys.sealing(), head, seals.audit_event_fields(deed))
    return head
