"""A handful of bulk statements that write any number of step records.

PostgreSQL takes one statement a table, its rows as arrays (`unnest`), so that neither
parsing nor parameters grow with the batch; SQLite takes `executemany`, which costs no
round trip there. Every insert is an upsert: a batch whose COMMIT was lost on the way can
be sent again and changes nothing that is already there.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import ForeignKey
from django.utils import timezone

from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    Run,
    Stage,
    StageItem,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from workflows.execution.records import StepRecord

# PostgreSQL's array type for each column type we write in bulk
_ARRAYS = {
    "UUIDField": "uuid",
    "ForeignKey": "bigint",
    "PositiveIntegerField": "integer",
    "PositiveSmallIntegerField": "smallint",
    "FloatField": "double precision",
    "BooleanField": "boolean",
    "DateTimeField": "timestamptz",
    "JSONField": "text",  # cast to jsonb on the way in
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as a bulk statement needs it."""

    name: str
    array: str  # PostgreSQL type of one element
    cast: str = ""  # applied to the element, e.g. "::jsonb"


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns we write, in the order the rows give them."""

    name: str
    columns: tuple[Column, ...]
    unique: tuple[str, ...]
    updated: tuple[str, ...] = ()  # overwritten on conflict; () = leave the row

    def conflict(self) -> str:
        """Return what happens when the row is there already."""
        keys = ", ".join(f'"{name}"' for name in self.unique)
        if not self.updated:
            return f"ON CONFLICT ({keys}) DO NOTHING"
        sets = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in self.updated)
        return f"ON CONFLICT ({keys}) DO UPDATE SET {sets}"


def _table(model: type[Model], names: str, unique: str, updated: str = "") -> Table:
    fields = {field.column: field for field in model._meta.concrete_fields}  # noqa: SLF001 - Django's documented model API
    columns = []
    for name in names.split():
        field = fields[name]
        if isinstance(field, ForeignKey):
            target = field.target_field.get_internal_type()
            kind = "UUIDField" if target == "UUIDField" else "ForeignKey"
        else:
            kind = field.get_internal_type()
        cast = "::jsonb" if kind == "JSONField" else ""
        columns.append(Column(name, _ARRAYS.get(kind, "text"), cast))
    return Table(
        model._meta.db_table,  # noqa: SLF001
        tuple(columns),
        tuple(unique.split()),
        tuple(updated.split()),
    )


STAGES = _table(
    Stage,
    "run_id attempt sequence node_name iteration tries status duration_ms items_done"
    " items_total error_message created_at",
    "run_id attempt sequence",
    "tries status duration_ms items_done items_total error_message",
)
DECISIONS = _table(
    Decision,
    "run_id attempt sequence edge_index from_node to_node predicate_name"
    " predicate_result reason values taken decided_by_id comment created_at",
    "run_id attempt sequence edge_index",
)
CHECKPOINTS = _table(
    Checkpoint,
    "run_id attempt sequence node_name kind data bytes created_at",
    "run_id sequence",
)
LOGS = _table(
    LogLine,
    "run_id attempt number sequence level message created_at",
    "run_id attempt number",
)
ITEMS = _table(StageItem, "run_id sequence index data", "run_id sequence index")
ENDINGS = _table(
    Attempt,
    "run_id number worker started_at ended_at outcome error_message error_code"
    " traceback",
    "run_id number",
    "ended_at outcome error_message error_code traceback",
)

RUNS = _table(
    Run,
    "id attempt worker sequence status waiting_for waiting_node wake_at result"
    " error_message error_code error_node completed_at updated_at recoveries",
    "id",
)
_MOVED = """
    version = {run}version + 1, sequence = {new}sequence, status = {new}status,
    waiting_for = {new}waiting_for, waiting_node = {new}waiting_node,
    wake_at = {new}wake_at, result = {new}result,
    error_message = {new}error_message, error_code = {new}error_code,
    error_node = {new}error_node, completed_at = {new}completed_at,
    updated_at = {new}updated_at,
    recoveries = CASE WHEN {new}recoveries = 0 THEN 0 ELSE {run}recoveries END,
    lease_expires_at =
        CASE WHEN {new}status = 'running' THEN {run}lease_expires_at END,
    secrets = CASE WHEN {new}completed_at IS NULL THEN {run}secrets END
"""


def upsert(
    connection: BaseDatabaseWrapper, table: Table, rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows into a table, or update those that are there, in one statement."""
    if not rows:
        return
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"INSERT INTO {table.name} ({names}) SELECT {_selected(table)}"  # noqa: S608 - names are ours
                f" FROM {_unnest(table)} {table.conflict()}",
                _arrays(rows),
            )
        else:
            marks = ", ".join(["%s"] * len(table.columns))
            cursor.executemany(
                f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
                f" {table.conflict()}",
                [[_for_sqlite(value) for value in row] for row in rows],
            )


def move_runs(
    connection: BaseDatabaseWrapper, records: Sequence[StepRecord]
) -> dict[UUID, int]:
    """Move the rows of running runs; return the new version of each that was ours.

    A run that is missing from the answer has another owner, another attempt or an end:
    its record must not be written. This is the fence.
    """
    now = timezone.now()
    rows = [_run_row(record, now) for record in records]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            sets = _MOVED.format(run="run.", new="new.")
            cursor.execute(
                f"UPDATE {RUNS.name} AS run SET {sets}"  # noqa: S608
                f" FROM (SELECT {_selected(RUNS)} FROM {_unnest(RUNS)}) AS new"
                " WHERE run.id = new.id AND run.attempt = new.attempt"
                " AND run.worker = new.worker AND run.status = 'running'"
                " RETURNING run.id, run.version",
                _arrays(rows),
            )
            return dict(cursor.fetchall())
        return _move_one_by_one(cursor, rows)


def _move_one_by_one(cursor: Any, rows: list[list[Any]]) -> dict[UUID, int]:
    """Move runs on SQLite, where a statement each costs no round trip."""
    sets = _MOVED.format(run="", new=":")
    for column in RUNS.columns:
        sets = sets.replace(f":{column.name}", f"%({column.name})s")
    statement = (
        f"UPDATE {RUNS.name} SET {sets}"  # noqa: S608
        " WHERE id = %(id)s AND attempt = %(attempt)s AND worker = %(worker)s"
        " AND status = 'running' RETURNING version"
    )
    moved: dict[UUID, int] = {}
    names = [column.name for column in RUNS.columns]
    for row in rows:
        values = dict(zip(names, map(_for_sqlite, row), strict=True))
        cursor.execute(statement, values)
        if found := cursor.fetchone():
            moved[row[0]] = found[0]
    return moved


def _run_row(record: StepRecord, now: dt.datetime) -> list[Any]:
    return [
        record.run_id,
        record.attempt,
        record.worker,
        record.sequence,
        str(record.status),
        record.waiting_for,
        record.waiting_node,
        record.wake_at,
        record.result,
        record.error_message,
        record.error_code,
        record.error_node,
        record.completed_at,
        now,
        0 if record.progressed or record.status == Status.COMPLETED else 1,
    ]


def write_rows(connection: BaseDatabaseWrapper, records: Iterable[StepRecord]) -> None:
    """Write the rows of many records: a statement a table, however many the runs."""
    stages: list[list[Any]] = []
    decisions: list[list[Any]] = []
    checkpoints: list[list[Any]] = []
    logs: list[list[Any]] = []
    items: list[list[Any]] = []
    endings: list[list[Any]] = []
    for record in records:
        run, attempt = record.run_id, record.attempt
        # PostgreSQL refuses to touch a row twice in one upsert: the last one counts
        latest = {row.sequence: row for row in record.stages}
        for s in latest.values():
            stages.append(  # noqa: PERF401 - one row, one line each: readable
                [run, attempt, s.sequence, s.node, s.iteration, s.tries, str(s.status),
                 s.duration_ms, s.items_done, s.items_total, s.error, s.created_at]
            )  # fmt: skip
        for d in record.decisions:
            decisions.append(  # noqa: PERF401
                [run, attempt, d.sequence, d.edge_index, d.from_node, d.to_node,
                 d.predicate, d.result, d.reason, d.values, d.taken, d.decided_by_id,
                 d.comment, d.created_at]
            )  # fmt: skip
        for c in record.checkpoints:
            size = len(c.data.encode())
            checkpoints.append(
                [run, attempt, c.sequence, c.node, c.kind, c.data, size, c.created_at]
            )
        for g in record.logs:
            logs.append(  # noqa: PERF401
                [run, attempt, g.number, g.sequence, g.level, g.message, g.created_at]
            )
        items += [[run, i.sequence, i.index, i.data] for i in record.items]
        if end := record.ending:
            now = timezone.now()
            endings.append(
                [run, attempt, record.worker, now, now, str(end.outcome),
                 end.error_message, end.error_code, end.traceback]
            )  # fmt: skip
    for table, rows in (
        (STAGES, stages),
        (DECISIONS, decisions),
        (CHECKPOINTS, checkpoints),
        (LOGS, logs),
        (ITEMS, items),
        (ENDINGS, endings),
    ):
        upsert(connection, table, rows)


def _selected(table: Table) -> str:
    return ", ".join(f'"{c.name}"{c.cast} AS "{c.name}"' for c in table.columns)


def _unnest(table: Table) -> str:
    arrays = ", ".join(f"%s::{column.array}[]" for column in table.columns)
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"unnest({arrays}) AS given({names})"


def _arrays(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _for_sqlite(value: Any) -> Any:
    """Return a value as Django stores it in SQLite."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, dt.datetime):
        return str(value.astimezone(dt.UTC).replace(tzinfo=None))
    return value
