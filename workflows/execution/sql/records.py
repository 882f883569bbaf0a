"""Bulk statements that write any number of step records, fenced, in one go.

PostgreSQL takes a whole batch as one statement: its rows travel as one binary array a
column, and every insert joins the runs that the update found to be still ours. One round
trip, one transaction, prepared once. SQLite takes a statement a run and `executemany` a
table, which cost no round trip there.

Every insert is an upsert: a batch whose COMMIT was lost on the way can be sent again and
changes nothing that is already there.
"""

from __future__ import annotations

import datetime as dt
import functools
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from workflows.execution.sql.tables import Table, form, prepared, sent, table_of
from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    Retry,
    Run,
    Stage,
    StageItem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from workflows.execution.rows import Rows

RUNS = table_of(
    Run,
    "id attempt worker sequence status waiting_for waiting_node wake_at result"
    " error_message error_code error_node completed_at updated_at history_chain_head recoveries",
)
TABLES: Mapping[str, Table] = {
    "stages": table_of(
        Stage,
        "run_id attempt sequence node_name iteration tries status duration_ms"
        " items_done items_total error_message created_at waits_for_thread seal",
        "run_id attempt sequence",
        "iteration tries status duration_ms items_done items_total error_message"
        " waits_for_thread seal",
    ),
    "decisions": table_of(
        Decision,
        "run_id attempt sequence edge_index from_node to_node predicate_name"
        " predicate_result reason values taken decided_by_id comment created_at"
        " workflow_name seal",
        "run_id attempt sequence edge_index",
    ),
    "checkpoints": table_of(
        Checkpoint,
        "run_id attempt sequence node_name kind data bytes created_at",
        "run_id sequence",
    ),
    "logs": table_of(
        LogLine,
        "run_id attempt number sequence level message created_at",
        "run_id attempt number",
    ),
    "retries": table_of(
        Retry,
        "run_id attempt sequence number wait_seconds error_message created_at",
        "run_id attempt sequence number",
    ),
    "items": table_of(StageItem, "run_id sequence index data", "run_id sequence index"),
    "endings": table_of(
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
    updated_at = {new}updated_at, history_chain_head = {new}history_chain_head,
    recoveries = CASE {new}recoveries WHEN 0 THEN 0 WHEN 1 THEN {run}recoveries
        WHEN 2 THEN {run}recoveries + 1 ELSE 1 END,
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
    filled = {name: found for name in TABLES if (found := getattr(rows, name))}
    forms = tuple((name, form(found)) for name, found in filled.items())
    given = sent(rows.runs)
    for found in filled.values():
        given += sent(found)
    with prepared(connection) as cursor:
        cursor.execute(_whole_statement(form(rows.runs), forms), given, prepare=True)
        return dict(cursor.fetchall())


@functools.cache
def _whole_statement(runs: int, forms: tuple[tuple[str, int], ...]) -> str:
    """Return the statement that writes rows of these forms, for the runs that are ours."""
    places = count(1)
    sets = _MOVED.format(run="run.", new="new.")
    moved = (
        f"moved AS (UPDATE {RUNS.name} AS run SET {sets}"  # noqa: S608 - names are ours
        f" FROM (SELECT {RUNS.values} FROM {RUNS.given(runs, places)}) AS new"
        " WHERE run.id = new.id AND run.attempt = new.attempt"
        " AND run.worker = new.worker AND run.status = 'running'"
        " RETURNING run.id, run.version)"
    )
    inserts = [
        f"{name} AS (INSERT INTO {table.name} ({table.names})"  # noqa: S608
        f" SELECT {table.values} FROM {table.given(rows, places)}"
        f" JOIN moved ON moved.id = given.run_id {table.conflict})"
        for name, table, rows in ((name, TABLES[name], rows) for name, rows in forms)
    ]
    return f"WITH {', '.join([moved, *inserts])} SELECT id, version FROM moved"  # noqa: S608


# SQLite ------------------------------------------------------------------------------
# Straight to the driver: Django would rewrite the text of each statement at each call.


def _move_one_by_one(
    connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]
) -> dict[UUID, int]:
    moved: dict[UUID, int] = {}
    with connection.wrap_database_errors:
        for row in rows:
            found = connection.connection.execute(_ONE_MOVE, _for_sqlite(row))
            if version := found.fetchone():
                moved[row[0]] = version[0]
    return moved


_ONE_MOVE = (
    "WITH new("  # noqa: S608 - names are ours
    f"{RUNS.names}) AS (VALUES ({', '.join('?' * len(RUNS.columns))}))"
    f" UPDATE {RUNS.name} SET {_MOVED.format(run=f'{RUNS.name}.', new='new.')} FROM new"
    f" WHERE {RUNS.name}.id = new.id AND {RUNS.name}.attempt = new.attempt"
    f" AND {RUNS.name}.worker = new.worker AND {RUNS.name}.status = 'running'"
    " RETURNING version"
)


def _insert_many(
    connection: BaseDatabaseWrapper, table: Table, rows: Sequence[Sequence[Any]]
) -> None:
    if not rows:
        return
    with connection.wrap_database_errors:
        connection.connection.executemany(
            _one_insert(table), [_for_sqlite(row) for row in rows]
        )


@functools.cache
def _one_insert(table: Table) -> str:
    marks = ", ".join("?" * len(table.columns))
    return (
        f"INSERT INTO {table.name} ({table.names}) VALUES ({marks})"  # noqa: S608
        f" {table.conflict}"
    )


def _for_sqlite(row: Sequence[Any]) -> list[Any]:
    """Return the values of a row as Django stores them in SQLite."""
    return [
        _STORED[kind](value) if (kind := type(value)) in _STORED else value
        for value in row
    ]


_STORED: Mapping[type, Callable[[Any], Any]] = {
    UUID: lambda value: value.hex,
    dt.datetime: lambda value: str(value.astimezone(dt.UTC).replace(tzinfo=None)),
}
