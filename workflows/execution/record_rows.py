"""Step records as rows per table, in the order of the columns in `sql.record_statements`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from workflows.models import Status

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from workflows.audit.step_records import StepRecord

Row = list[Any]


class Recoveries(IntEnum):
    """How a record changes a run's count of recoveries; see `RUN_ASSIGNMENTS`."""

    NONE = 0
    AS_BEFORE = 1
    ONE_MORE = 2
    ONE = 3


@dataclass(slots=True)
class Rows:
    """The rows of one batch by table; the first column of each is the run."""

    runs: list[Row] = field(default_factory=list)
    stages: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    checkpoints: list[Row] = field(default_factory=list)
    logs: list[Row] = field(default_factory=list)
    items: list[Row] = field(default_factory=list)
    item_failures: list[Row] = field(default_factory=list)
    retries: list[Row] = field(default_factory=list)
    endings: list[Row] = field(default_factory=list)


def rows_of(records: Iterable[StepRecord]) -> Rows:
    """Return the rows of a batch.

    No row occurs twice, which PostgreSQL refuses: a batch has one record per run, which has
    a stage once, when it ends.
    """
    rows, now = Rows(), timezone.now()
    # Always in the same order: the rows are locked in it, also by `renew_leases`.
    for record in sorted(records, key=attrgetter("run_id.int")):
        rows.runs.append(_run(record, now))
        _add_history(rows, record, now)
    return rows


def _run(record: StepRecord, now: dt.datetime) -> Row:
    forgiven = record.progressed or record.status == Status.COMPLETED
    if record.recovered:
        recoveries = Recoveries.ONE if forgiven else Recoveries.ONE_MORE
    else:
        recoveries = Recoveries.NONE if forgiven else Recoveries.AS_BEFORE
    return [
        record.run_id, record.attempt, record.worker, record.sequence,
        str(record.status), record.waiting_for, record.waiting_node, record.wake_at,
        record.result, record.error_message, record.error_code, record.error_node,
        record.completed_at, now, record.history_chain_head, int(recoveries),
        record.fence, int(record.suspicion), record.current_stage, record.fence_before,
    ]  # fmt: skip


def _add_history(rows: Rows, record: StepRecord, now: dt.datetime) -> None:
    run, attempt = record.run_id, record.attempt
    rows.stages += [
        [
            run, attempt, row.sequence, row.node, row.iteration, row.tries,
            str(row.status), row.duration_ms, row.items_done, row.items_total,
            row.error, row.created_at, row.waits_for_thread, row.seal,
            str(row.kind), row.undoes, row.branch,
        ]
        for row in record.stages
    ]  # fmt: skip
    rows.decisions += [
        [
            run, attempt, row.sequence, row.edge_index, row.from_node, row.to_node,
            row.predicate, row.result, row.reason, row.values, row.taken,
            row.decided_by_id, row.comment, row.created_at, record.workflow, row.seal,
        ]
        for row in record.decisions
    ]  # fmt: skip
    rows.checkpoints += [
        [run, attempt, row.sequence, row.node, str(row.kind), row.data,
         len(row.data), row.created_at, row.failure]
        for row in record.checkpoints
    ]  # fmt: skip
    rows.logs += [
        [
            run,
            attempt,
            row.number,
            row.sequence,
            int(row.level),
            row.message,
            row.created_at,
        ]
        for row in record.logs
    ]
    rows.items += [
        [run, row.sequence, row.index, row.data, row.tries, row.duration_ms]
        for row in record.items
    ]
    rows.item_failures += [
        [run, attempt, row.sequence, row.index, row.tries, row.duration_ms,
         row.error_type, row.error]
        for row in record.item_failures.values()
    ]  # fmt: skip
    rows.retries += [
        [run, attempt, row.sequence, row.number, row.wait_seconds, row.error,
         row.created_at]
        for row in record.retries
    ]  # fmt: skip
    if end := record.ending:
        rows.endings.append(
            [run, attempt, record.worker, now, now, str(end.outcome),
             end.error_message, end.error_code, end.traceback]
        )  # fmt: skip
