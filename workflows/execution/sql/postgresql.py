"""PostgreSQL: each method is one statement, hence one round trip and one transaction.

The rows of a batch of step records travel as one binary array per column, and every
insert joins the runs that the update found to be still the worker's.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from workflows.execution.sql import launches as launch_statement
from workflows.execution.sql.driver import Claimed, Driver
from workflows.execution.sql.statements import (
    ATTEMPTS,
    AUDIT_EVENTS,
    CLAIM_SELECTED,
    CLAIMED_COLUMNS,
    IS_HELD,
    IS_RENEWABLE,
    LOOKAHEAD,
    RECORD_RUNS,
    RECORD_TABLES,
    RENEWED_COLUMNS,
    RUN_ASSIGNMENTS,
    RUNS,
    SELECT_PENDING,
    SUSPECTS_PENDING,
)
from workflows.execution.sql.tables import parameters, row_count

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    import psycopg

    from workflows.execution.rows import Rows
    from workflows.execution.sql.driver import Renewed
    from workflows.execution.sql.launches import NewRun, Offer

# The end of a lease that lasts as many seconds as the parameter says, by the server's clock.
_LEASE_END: Final = "statement_timestamp() + {} * interval '1 second'"
_CLAIM_PARAMETERS: Final = {
    name: f"${number}::{kind}"
    for number, (name, kind) in enumerate(
        {
            "worker": "text",
            "limit": "bigint",
            "lookahead": "bigint",
            "now": "timestamptz",
            "lease": "float8",
            "fence": "bigint",
            "suspicion": "bigint",
        }.items(),
        start=1,
    )
}


class PostgreSQLDriver(Driver):
    """Statements that the server prepares."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Return no transaction: the statement is one."""
        return nullcontext()

    def insert_runs(
        self, launches: Sequence[NewRun], offer: Offer | None = None
    ) -> dict[UUID, str]:
        """Insert all rows in one statement."""
        runs = [launch_statement.values_of(RUNS, launch.run) for launch in launches]
        events = [
            launch_statement.values_of(AUDIT_EVENTS, launch.event)
            for launch in launches
        ]
        values = launch_statement.offer_values(offer, float(settings.LEASE_SECONDS))
        values += parameters(runs) + parameters(events)
        statement = launch_statement.insert_runs(row_count(runs), _LEASE_END)
        with self._prepared() as cursor:
            cursor.execute(statement, values, prepare=True)
            return dict(cursor.fetchall())

    def claim_pending(
        self, worker: str, limit: int, now: dt.datetime, fence: int, suspicion: int = 0
    ) -> Claimed:
        """Claim runs and insert attempts; rows that rivals have locked are skipped."""
        lease = float(settings.LEASE_SECONDS)
        values = [worker, limit, limit * LOOKAHEAD, now, lease, fence, suspicion]
        with self._prepared() as cursor:
            cursor.execute(_claim_pending(), values, prepare=True)
            rows = cursor.fetchall()
        candidates, suspects = rows[0][:2]
        runs = self._to_runs([row[2:] for row in rows if row[2] is not None])
        return Claimed(runs, candidates > len(runs), suspects is not None)

    def renew_leases(self, worker: str, fences: Mapping[UUID, int]) -> list[Renewed]:
        """Lock the rows in the writer's order: else each might wait for the other."""
        condition = IS_RENEWABLE.format(run="run.", held="held.", worker="%s")
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"WITH mine AS (SELECT run.id FROM {RUNS.name} AS run,"  # noqa: S608 - names are ours
                " unnest(%s::uuid[], %s::bigint[]) AS held(id, fence)"
                f" WHERE {condition} ORDER BY run.id FOR UPDATE OF run)"
                f" UPDATE {RUNS.name} SET lease_expires_at = {_LEASE_END.format('%s')}"
                " WHERE id IN (SELECT id FROM mine)"
                f" RETURNING {', '.join(RENEWED_COLUMNS)}",
                [
                    [*fences],
                    [*fences.values()],
                    worker,
                    float(settings.LEASE_SECONDS),
                ],
            )
            rows = self._converted(RENEWED_COLUMNS, cursor.fetchall())
            return [tuple(row) for row in rows]

    def write_records(self, rows: Rows) -> dict[UUID, int]:
        """Write the rows of all tables in one statement."""
        filled = {name: part for name in RECORD_TABLES if (part := getattr(rows, name))}
        counts = tuple((name, row_count(part)) for name, part in filled.items())
        values = parameters(rows.runs)
        for part in filled.values():
            values += parameters(part)
        statement = _write_records(row_count(rows.runs), counts)
        with self._prepared() as cursor:
            cursor.execute(statement, values, prepare=True)
            return dict(cursor.fetchall())

    @contextmanager
    def _prepared(self) -> Iterator[psycopg.RawCursor[Any]]:
        """Give a cursor whose statements the server can prepare, on Django's connection.

        Django's own cursor binds on the client. There are few forms of these statements
        and they run often, so preparing pays: each takes longer to plan than to run.
        Placeholders are `$1`, `$2`, …: with `%s` the driver would parse a long text at
        each call. Every integer is sent as a bigint: its size would otherwise make
        another form.
        """
        import psycopg  # noqa: PLC0415 - only installed together with PostgreSQL
        from psycopg.types.array import ListBinaryDumper  # noqa: PLC0415
        from psycopg.types.numeric import Int8BinaryDumper  # noqa: PLC0415

        self.connection.ensure_connection()
        with (
            self.connection.wrap_database_errors,
            psycopg.RawCursor(self.connection.connection) as cursor,
        ):
            cursor.adapters.register_dumper(int, Int8BinaryDumper)
            cursor.adapters.register_dumper(list, ListBinaryDumper)
            yield cursor


@functools.cache
def _claim_pending() -> str:
    """Return a statement with one row at least: what the claim saw, then each run."""
    selected = SELECT_PENDING.format(
        runs=RUNS.name,
        among="= ANY(ARRAY",
        close=")",
        lock="FOR UPDATE OF run SKIP LOCKED",
        **_CLAIM_PARAMETERS,
    )
    claimed = CLAIM_SELECTED.format(
        runs=RUNS.name,
        columns="claimed.*",
        until=_LEASE_END.format(_CLAIM_PARAMETERS["lease"]),
        **_CLAIM_PARAMETERS,
    )
    attempt = {
        "run_id": "id",
        "number": "attempt",
        "worker": "worker",
        "started_at": "updated_at",
        "ended_at": "NULL::timestamptz",
    }
    values = ", ".join(attempt.get(name, "''") for name in ATTEMPTS.column_names)
    return (
        f"{selected}, mine AS ({claimed}),"  # noqa: S608 - names are ours
        f" opened AS (INSERT INTO {ATTEMPTS.name} ({ATTEMPTS.names})"
        f" SELECT {values} FROM mine)"
        f" SELECT (SELECT COUNT(*) FROM ranked), ({SUSPECTS_PENDING}), {CLAIMED_COLUMNS}"
        " FROM (VALUES (1)) AS always LEFT JOIN mine ON TRUE"
    )


@functools.cache
def _write_records(runs: int, counts: tuple[tuple[str, int], ...]) -> str:
    """Return the statement for these numbers of rows, see `row_count`, by table."""
    numbers = count(1)
    assignments = RUN_ASSIGNMENTS.format(run="run.", new="new.")
    source = RECORD_RUNS.parameter_rows(runs, numbers)
    moved = (
        f"moved AS (UPDATE {RECORD_RUNS.name} AS run SET {assignments}"  # noqa: S608 - names are ours
        f" FROM (SELECT {RECORD_RUNS.typed_columns} FROM {source}) AS new"
        f" WHERE {IS_HELD.format(run='run.', new='new.')}"
        " RETURNING run.id, run.version)"
    )
    inserts = [
        f"{name} AS (INSERT INTO {table.name} ({table.names})"  # noqa: S608 - names are ours
        f" SELECT {table.typed_columns} FROM {table.parameter_rows(rows, numbers)}"
        f" JOIN moved ON moved.id = sent.run_id {table.conflict})"
        for name, table, rows in (
            (name, RECORD_TABLES[name], rows) for name, rows in counts
        )
    ]
    return f"WITH {', '.join([moved, *inserts])} SELECT id, version FROM moved"  # noqa: S608 - names are ours
