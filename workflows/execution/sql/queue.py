"""The statements of the queue: one each to put a run in, to claim some, to keep leases.

PostgreSQL does each in one round trip; SQLite takes two statements where one would have
to change two tables, in one transaction.
"""

from __future__ import annotations

import functools
from itertools import count
from typing import TYPE_CHECKING, Any

from workflows.execution.sql.tables import Table, all_columns, prepared, table_of
from workflows.infra import clock
from workflows.models import Attempt, AuditEvent, Run

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

RUNS = table_of(Run, all_columns(Run), "workflow_name idempotency_key")
AUDIT_EVENTS = table_of(AuditEvent, all_columns(AuditEvent))
ATTEMPTS = table_of(Attempt, all_columns(Attempt))
UNREAD = {"graph", "result"}  # columns of a run that its worker has no use for

# The next runs for free places, by priority, then fair between workflows, then by age.
# Fair means: of two workflows the one with fewer runs under way goes first, however many
# each has waiting. `names` walks the index from one workflow to the next, so that ten
# thousand waiting runs of one of them cost no more than ten. `following` looks at each
# row once more, under its lock; CASE keeps the planner from doing that by way of the
# index of all that is pending, which it believes to be all but empty.
_FOLLOWING = """
    WITH RECURSIVE names(name) AS (
        SELECT MIN(workflow_name) FROM {runs} WHERE status = 'pending'
        UNION ALL
        SELECT (SELECT MIN(workflow_name) FROM {runs}
                WHERE status = 'pending' AND workflow_name > names.name)
        FROM names WHERE names.name IS NOT NULL
    ),
    under_way AS (
        SELECT workflow_name AS name, COUNT(*) AS number
        FROM {runs} WHERE status = 'running' GROUP BY workflow_name
    ),
    firsts AS (
        SELECT run.id, run.workflow_name, run.priority
        FROM names JOIN {runs} AS run ON run.id {among} (
            SELECT id FROM {runs}
            WHERE status = 'pending' AND workflow_name = names.name
            ORDER BY priority DESC, id LIMIT {reach}
        ){close}
    ),
    turns AS (
        SELECT firsts.id, firsts.priority,
            COALESCE(under_way.number, 0) + ROW_NUMBER() OVER (
                PARTITION BY firsts.workflow_name, firsts.priority ORDER BY firsts.id
            ) AS turn
        FROM firsts LEFT JOIN under_way ON under_way.name = firsts.workflow_name
    ),
    following AS MATERIALIZED (
        SELECT run.id FROM turns JOIN {runs} AS run ON run.id = turns.id
        WHERE CASE WHEN run.status = 'pending' THEN 1 ELSE 0 END = 1
        ORDER BY turns.priority DESC, turns.turn, run.id
        LIMIT {limit} {lock}
    )
"""
_CLAIMED = """
    UPDATE {runs} AS claimed SET
        status = 'running', worker = {worker}, lease_expires_at = {until},
        attempt = claimed.attempt + 1, version = claimed.version + 1,
        started_at = COALESCE(claimed.started_at, {now}), updated_at = {now}
    WHERE claimed.id IN (SELECT id FROM following)
    RETURNING {columns}
"""
OTHERS = 4  # times the free places: how far to look past runs that rivals are taking


def insert_run(connection: BaseDatabaseWrapper, run: Run, deed: AuditEvent) -> bool:
    """Insert a run and the deed that launched it, or neither.

    False when a run of this workflow with this idempotency key is there already. On
    SQLite, call it within a transaction.
    """
    of_run, of_deed = (
        _values(connection, RUNS, run),
        _values(connection, AUDIT_EVENTS, deed),
    )
    if connection.vendor == "postgresql":
        with prepared(connection) as cursor:
            cursor.execute(_launch_at_once(), of_run + of_deed, prepare=True)
            return cursor.fetchone() is not None
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_insert(RUNS, _marks(RUNS))} {RUNS.conflict} RETURNING id", of_run
        )
        if cursor.fetchone() is None:
            return False
        cursor.execute(_insert(AUDIT_EVENTS, _marks(AUDIT_EVENTS)), of_deed)
    return True


def _values(connection: BaseDatabaseWrapper, into: Table, row: Model) -> list[Any]:
    fields = {field.attname: field for field in row._meta.concrete_fields}  # noqa: SLF001
    return [
        fields[column.name].get_db_prep_save(getattr(row, column.name), connection)
        for column in into.columns
    ]


def _insert(into: Table, marks: str) -> str:
    return f"INSERT INTO {into.name} ({into.names}) VALUES ({marks})"  # noqa: S608


def _marks(into: Table) -> str:
    return ", ".join(["%s"] * len(into.columns))


@functools.cache
def _launch_at_once() -> str:
    places = count(1)
    run, deed = (
        ", ".join(f"${next(places)}::{column.kind}" for column in into.columns)
        for into in (RUNS, AUDIT_EVENTS)
    )
    return (
        f"WITH launched AS ({_insert(RUNS, run)} {RUNS.conflict} RETURNING id),"  # noqa: S608
        f" told AS (INSERT INTO {AUDIT_EVENTS.name} ({AUDIT_EVENTS.names})"
        f" SELECT {deed} FROM launched)"
        " SELECT id FROM launched"
    )


def take_pending(
    connection: BaseDatabaseWrapper,
    worker: str,
    limit: int,
    now: dt.datetime,
) -> list[Run]:
    """Move pending runs to this worker and open an attempt of each.

    Returns them as they are now, without the columns of UNREAD. On SQLite, call it within
    a transaction.
    """
    given: dict[str, Any] = {
        "worker": worker, "limit": limit, "reach": limit * OTHERS,
        "now": now, "lease": clock.lease(connection),
    }  # fmt: skip
    if connection.vendor == "postgresql":
        with prepared(connection) as cursor:
            cursor.execute(_claim_at_once(), [*given.values()], prepare=True)
            return _as_runs(connection, cursor.fetchall())
    adapt = connection.ops.adapt_datetimefield_value
    given |= {"now": adapt(now)}
    with connection.cursor() as cursor:
        cursor.execute(_claim_on_sqlite(), given)
        runs = _as_runs(connection, cursor.fetchall())
    Attempt.objects.bulk_create(
        Attempt(run=run, number=run.attempt, worker=worker, started_at=now)
        for run in runs
    )
    return runs


_FIELDS = {
    field.attname: field
    for field in Run._meta.concrete_fields  # noqa: SLF001
    if field.attname not in UNREAD
}
_COLUMNS = ", ".join(f'"{name}"' for name in _FIELDS)
_GIVEN = ("worker", "limit", "reach", "now", "lease")
_PLACES = {name: f"%({name})s" for name in _GIVEN}
_NUMBERED = {
    name: f"${number}::{kind}"
    for number, (name, kind) in enumerate(
        zip(_GIVEN, ("text", "bigint", "bigint", "timestamptz", "float8"), strict=True),
        start=1,
    )
}
_RENEWED = ("id", "attempt", "cancel_requested_at", "cancel_reason")


@functools.cache
def _claim_on_sqlite() -> str:
    following = _FOLLOWING.format(
        runs=RUNS.name, among="IN", close="", lock="", **_PLACES
    )
    return following + _CLAIMED.format(
        runs=RUNS.name, columns=_COLUMNS, until=_PLACES["lease"], **_PLACES
    )


@functools.cache
def _claim_at_once() -> str:
    """Return the statement that claims and opens attempts; rows of rivals are passed over."""
    following = _FOLLOWING.format(
        runs=RUNS.name,
        among="= ANY(ARRAY",
        close=")",
        lock="FOR UPDATE OF run SKIP LOCKED",
        **_NUMBERED,
    )
    mine = _CLAIMED.format(
        runs=RUNS.name,
        columns="claimed.*",
        until=clock.ON_POSTGRES.format(_NUMBERED["lease"]),
        **_NUMBERED,
    )
    begun = {
        "run_id": "id",
        "number": "attempt",
        "worker": "worker",
        "started_at": "updated_at",
        "ended_at": "NULL::timestamptz",
    }
    values = ", ".join(begun.get(column.name, "''") for column in ATTEMPTS.columns)
    return (
        f"{following}, mine AS ({mine}),"  # noqa: S608 - names are ours
        f" opened AS (INSERT INTO {ATTEMPTS.name} ({ATTEMPTS.names})"
        f" SELECT {values} FROM mine)"
        f" SELECT {_COLUMNS} FROM mine"
    )


def _as_runs(
    connection: BaseDatabaseWrapper, rows: Sequence[Sequence[Any]]
) -> list[Run]:
    """Return rows of `_COLUMNS` as the ORM would."""
    return [
        Run.from_db(connection.alias, [*_FIELDS], values)
        for values in _read(connection, [*_FIELDS], rows)
    ]


def _read(
    connection: BaseDatabaseWrapper, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Iterable[Sequence[Any]]:
    """Return rows of these columns of runs with the values the ORM would give."""
    compiler = Run.objects.all().query.get_compiler(connection=connection)
    columns = [_FIELDS[name].get_col(RUNS.name) for name in names]
    found: Iterable[Sequence[Any]] = compiler.apply_converters(
        rows, compiler.get_converters(columns)
    )
    return found


def renew_leases(
    connection: BaseDatabaseWrapper,
    worker: str,
    held: Sequence[UUID],
) -> list[tuple[UUID, int, dt.datetime | None, str]]:
    """Extend the leases of the runs held, in one statement.

    Returns id, attempt, and when and why a cancel was asked for, of each that is still
    this worker's.
    """
    key = Run._meta.pk  # noqa: SLF001
    marks = ", ".join(["%s"] * len(held))
    is_postgres = connection.vendor == "postgresql"
    until = clock.ON_POSTGRES.format("%s") if is_postgres else "%s"
    mine = (
        f"SELECT id FROM {RUNS.name}"  # noqa: S608
        f" WHERE status = 'running' AND worker = %s AND id IN ({marks})"
    )
    if is_postgres:
        # In the writer's order, or each might wait for a row that the other has.
        mine += " ORDER BY id FOR UPDATE"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH mine AS ({mine})"  # noqa: S608
            f" UPDATE {RUNS.name} SET lease_expires_at = {until}"
            f" WHERE id IN (SELECT id FROM mine)"
            f" RETURNING {', '.join(_RENEWED)}",
            [
                worker,
                *(key.get_db_prep_value(pk, connection) for pk in held),
                clock.lease(connection),
            ],
        )
        return [tuple(row) for row in _read(connection, _RENEWED, cursor.fetchall())]
