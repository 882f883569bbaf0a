"""Bulk statements that write any number of step records, fenced, in one go.

PostgreSQL takes a whole batch as one statement: its rows travel as one JSON text a table,
and every insert joins the runs that the update found to be still ours. One round trip,
one transaction, prepared once. SQLite takes a statement a run and `executemany` a table,
which cost no round trip there.

Every insert is an upsert: a batch whose COMMIT was lost on the way can be sent again and
changes nothing that is already there.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import ForeignKey

from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    Run,
    Stage,
    StageItem,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from workflows.execution.rows import Rows

# PostgreSQL's type for each kind of column we write in bulk; others are text
_TYPES = {
    "UUIDField": "uuid",
    "ForeignKey": "bigint",
    "PositiveIntegerField": "integer",
    "PositiveSmallIntegerField": "smallint",
    "FloatField": "double precision",
    "BooleanField": "boolean",
    "DateTimeField": "timestamptz",
    "JSONField": "jsonb",  # its JSON text inside the JSON text of the batch
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and how it is called and typed in PostgreSQL's JSON."""

    name: str
    kind: str

    @property
    def given(self) -> str:
        """Its type in the record set: JSON comes as text."""
        return "text" if self.kind == "jsonb" else self.kind

    @property
    def cast(self) -> str:
        """What turns the given value into the column's."""
        return "::jsonb" if self.kind == "jsonb" else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns we write, in the order the rows give them."""

    name: str
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()  # overwritten on conflict; () = leave the row

    @property
    def names(self) -> str:
        """The columns, quoted, with commas."""
        return ", ".join(f'"{column.name}"' for column in self.columns)

    @property
    def conflict(self) -> str:
        """What happens when the row is there already."""
        keys = ", ".join(f'"{name}"' for name in self.unique)
        if not self.updated:
            return f"ON CONFLICT ({keys}) DO NOTHING"
        sets = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in self.updated)
        return f"ON CONFLICT ({keys}) DO UPDATE SET {sets}"

    @property
    def record_set(self) -> str:
        """The rows of one JSON parameter, as `given`."""
        columns = ", ".join(f'"{c.name}" {c.given}' for c in self.columns)
        return f"json_to_recordset(%s::json) AS given({columns})"

    @property
    def values(self) -> str:
        """The columns of `given`, each in its type."""
        return ", ".join(
            f'given."{c.name}"{c.cast} AS "{c.name}"' for c in self.columns
        )


def _table(
    model: type[Model], names: str, unique: str = "", updated: str = ""
) -> Table:
    fields = {field.column: field for field in model._meta.concrete_fields}  # noqa: SLF001 - Django's documented model API
    columns = []
    for name in names.split():
        field = fields[name]
        if isinstance(field, ForeignKey):
            target = field.target_field.get_internal_type()
            kind = "UUIDField" if target == "UUIDField" else "ForeignKey"
        else:
            kind = field.get_internal_type()
        columns.append(Column(name, _TYPES.get(kind, "text")))
    return Table(
        model._meta.db_table,  # noqa: SLF001
        tuple(columns),
        tuple(unique.split()),
        tuple(updated.split()),
    )


RUNS = _table(
    Run,
    "id attempt worker sequence status waiting_for waiting_node wake_at result"
    " error_message error_code error_node completed_at updated_at recoveries",
)
TABLES: Mapping[str, Table] = {
    "stages": _table(
        Stage,
        "run_id attempt sequence node_name iteration tries status duration_ms"
        " items_done items_total error_message created_at",
        "run_id attempt sequence",
        "tries status duration_ms items_done items_total error_message",
    ),
    "decisions": _table(
        Decision,
        "run_id attempt sequence edge_index from_node to_node predicate_name"
        " predicate_result reason values taken decided_by_id comment created_at",
        "run_id attempt sequence edge_index",
    ),
    "checkpoints": _table(
        Checkpoint,
        "run_id attempt sequence node_name kind data bytes created_at",
        "run_id sequence",
    ),
    "logs": _table(
        LogLine,
        "run_id attempt number sequence level message created_at",
        "run_id attempt number",
    ),
    "items": _table(StageItem, "run_id sequence index data", "run_id sequence index"),
    "endings": _table(
        Attempt,
        "run_id number worker started_at ended_at outcome error_message error_code"
        " traceback",
        "run_id number",
        "ended_at outcome error_message error_code traceback",
    ),
}

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


def write(connection: BaseDatabaseWrapper, rows: Rows) -> dict[UUID, int]:
    """Write a batch; return the new version of each run that was still ours.

    A run that is missing from the answer has another owner, another attempt or an end,
    and none of its rows was written: this is the fence. On SQLite, call it within a
    transaction.
    """
    if connection.vendor == "postgresql":
        return _write_at_once(connection, rows)
    moved = _move_one_by_one(connection, rows.runs)
    for name, table in TABLES.items():
        found = [row for row in getattr(rows, name) if row[0] in moved]
        _insert_many(connection, table, found)
    return moved


# PostgreSQL --------------------------------------------------------------------------


def _write_at_once(connection: BaseDatabaseWrapper, rows: Rows) -> dict[UUID, int]:
    import psycopg  # noqa: PLC0415 - only there when PostgreSQL is

    names = tuple(name for name in TABLES if getattr(rows, name))
    given = [_as_json(RUNS, rows.runs)]
    given += [_as_json(TABLES[name], getattr(rows, name)) for name in names]
    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(connection.connection) as cursor,
    ):
        # Django's own cursor binds on the client, which would keep the server from
        # preparing the statement; there are few forms of it, so it is worth preparing.
        cursor.execute(_whole_statement(names), given, prepare=True)
        return dict(cursor.fetchall())


@functools.cache
def _whole_statement(names: tuple[str, ...]) -> str:
    """Return the statement that writes these tables, for the runs that are ours."""
    sets = _MOVED.format(run="run.", new="new.")
    moved = (
        f"moved AS (UPDATE {RUNS.name} AS run SET {sets}"  # noqa: S608 - names are ours
        f" FROM (SELECT {RUNS.values} FROM {RUNS.record_set}) AS new"
        " WHERE run.id = new.id AND run.attempt = new.attempt"
        " AND run.worker = new.worker AND run.status = 'running'"
        " RETURNING run.id, run.version)"
    )
    inserts = [
        f"{name} AS (INSERT INTO {table.name} ({table.names})"  # noqa: S608
        f" SELECT {table.values} FROM {table.record_set}"
        f" JOIN moved ON moved.id = given.run_id {table.conflict})"
        for name, table in ((name, TABLES[name]) for name in names)
    ]
    return f"WITH {', '.join([moved, *inserts])} SELECT id, version FROM moved"  # noqa: S608


def _as_json(table: Table, rows: Sequence[Sequence[Any]]) -> str:
    names = [column.name for column in table.columns]
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str)


# SQLite ------------------------------------------------------------------------------


def _move_one_by_one(
    connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]
) -> dict[UUID, int]:
    moved: dict[UUID, int] = {}
    with connection.cursor() as cursor:
        for row in rows:
            values = [_for_sqlite(value) for value in row]
            cursor.execute(_one_move(), dict(zip(_RUN_NAMES, values, strict=True)))
            if found := cursor.fetchone():
                moved[row[0]] = found[0]
    return moved


_RUN_NAMES = [column.name for column in RUNS.columns]


@functools.cache
def _one_move() -> str:
    sets = _MOVED.format(run="", new=":")
    for name in _RUN_NAMES:
        sets = sets.replace(f":{name}", f"%({name})s")
    return (
        f"UPDATE {RUNS.name} SET {sets}"  # noqa: S608
        " WHERE id = %(id)s AND attempt = %(attempt)s AND worker = %(worker)s"
        " AND status = 'running' RETURNING version"
    )


def _insert_many(
    connection: BaseDatabaseWrapper, table: Table, rows: Sequence[Sequence[Any]]
) -> None:
    if not rows:
        return
    marks = ", ".join(["%s"] * len(table.columns))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table.name} ({table.names}) VALUES ({marks})"  # noqa: S608
            f" {table.conflict}",
            [[_for_sqlite(value) for value in row] for row in rows],
        )


def _for_sqlite(value: Any) -> Any:
    """Return a value as Django stores it in SQLite."""
    kind = type(value)
    if kind is UUID:
        return value.hex
    if kind is dt.datetime:
        return str(value.astimezone(dt.UTC).replace(tzinfo=None))
    return value
