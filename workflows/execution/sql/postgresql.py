"""PostgreSQL: each method is one statement, hence one round trip and one transaction.

The rows of a batch of step records are sent as one binary array per column, and every
insert joins the runs that the update found to be still the worker's.

The planner does not know how many runs are running: that number goes from none to
thousands within seconds, and plans are kept. So runs are found by their keys whatever the
statistics are: conditions on other columns stand in a CASE, out of reach of an index, and
the methods of joining and reading are excluded that take time in proportion to the whole
table or to the product of two.
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from workflows.execution.sql import launches as launch_statement
from workflows.execution.sql.claim_statements import (
    ADMITTED,
    ATTEMPTS,
    CLAIM_SELECTED,
    CLAIMED_COLUMNS,
    FIRST_CHECK,
    FIRST_STAGE,
    IS_RENEWABLE,
    LOOKAHEAD,
    PAUSES,
    RENEWED_COLUMNS,
    RUNS,
    SELECT_PENDING,
    SEVERAL_NAMES,
    SUSPECTS_PENDING,
    next_pending,
)
from workflows.execution.sql.driver import Claimed, Driver
from workflows.execution.sql.record_statements import (
    IS_HELD,
    RECORD_RUNS,
    RECORD_TABLES,
    RUN_ASSIGNMENTS,
)
from workflows.execution.sql.tables import MANY, parameters, row_count

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from workflows.execution.record_rows import Rows
    from workflows.execution.sql.driver import Renewed
    from workflows.execution.sql.launches import NewRun, Offer

# Settings of the planner to switch off, see `binary.execute`. A scan by bitmap would lock
# rows in their physical order, while other statements lock them in that of their keys. The
# estimated cost of what is switched off and cannot be avoided is so high that it would be
# compiled each time: so JIT is off.
BY_INDEX: Final = ("enable_seqscan", "jit")
BY_KEY: Final = (*BY_INDEX, "enable_bitmapscan", "enable_nestloop")
# The advisory lock that claims share, and that a pause of a workflow takes alone. It is taken
# before the snapshot of the claim, which then has all pauses that were committed before.
CLAIM_LOCK: Final = 7_446_257_226
SHARED_CLAIM_LOCK: Final = f"pg_advisory_xact_lock_shared({CLAIM_LOCK})"
LIMITS_LOCK: Final = 7_446_257_227  # of claims of runs with limits
KEYS_LOCK: Final = 744_625_722  # of launches with limits, with the hash of the key
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
            "began": "text",
        }.items(),
        start=1,
    )
}


# Rows are locked in the writer's order, that of their keys: else each might wait for the other.
_RENEW_LEASES: Final = (
    f"WITH mine AS (SELECT run.id FROM {RUNS.name} AS run,"  # noqa: S608 - names are ours
    " unnest($1::uuid[], $2::bigint[]) AS held(id, fence)"
    " WHERE run.id = ANY($1::uuid[]) AND "
    f"{IS_RENEWABLE.format(run='run.', held='held.', worker='$3::text')}"
    " ORDER BY run.id FOR UPDATE OF run)"
    f" UPDATE {RUNS.name} SET lease_expires_at = {_LEASE_END.format('$4::float8')}"
    " WHERE id = ANY($1::uuid[]) AND id IN (SELECT id FROM mine)"
    f" RETURNING {', '.join(RENEWED_COLUMNS)}"
)


class PostgreSQLDriver(Driver):
    """Statements that the server prepares."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Return no transaction: the statement is one."""
        return nullcontext()

    def insert_runs(
        self, launches: Sequence[NewRun], offer: Offer | None = None
    ) -> dict[UUID, str]:
        """Insert all rows in one statement."""
        runs = [launch_statement.run_values(launch.run, offer) for launch in launches]
        events = [launch_statement.event_row.of(launch.event) for launch in launches]
        names = sorted({launch.run.workflow_name for launch in launches})
        lease = float(settings.LEASE_SECONDS)
        values = launch_statement.offer_values(offer, lease, names)
        values += parameters(runs) + parameters(events)
        statement = launch_statement.insert_runs(row_count(runs), _LEASE_END)
        lock = SHARED_CLAIM_LOCK if offer else ""
        return dict(self._execute(statement, values, BY_KEY, before=lock))

    def claim_pending(  # noqa: PLR0913, PLR0917 - as one statement
        self,
        worker: str,
        limit: int,
        now: dt.datetime,
        fence: int,
        suspicion: int = 0,
        admitted: Sequence[UUID] = (),
    ) -> Claimed:
        """Claim runs and insert attempts; rows that rivals have locked are skipped."""
        lease = float(settings.LEASE_SECONDS)
        values = [worker, limit, limit * LOOKAHEAD, now, lease, fence, suspicion]
        values.append(now.isoformat())
        if admitted:
            values.append([*admitted])
        rows = self._execute(
            _claim_pending(has_admitted=bool(admitted)),
            values,
            BY_KEY,
            is_text=True,
            before=SHARED_CLAIM_LOCK,
        )
        candidates, suspects = rows[0][:2]
        runs = self._to_runs([row[2:-1] for row in rows if row[2] is not None])
        has_more = candidates > len(runs)
        return Claimed(runs, has_more, suspects is not None, rows[0][-1])

    def wait_for_claims(self) -> None:
        """Take the lock that claims share: theirs is held until their commit."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock({CLAIM_LOCK})")

    def lock_limits(self) -> None:
        """Take a lock of such claims, and the one that all claims share."""
        with self.connection.cursor() as cursor:
            lock = f"pg_advisory_xact_lock({LIMITS_LOCK})"
            cursor.execute(f"SELECT {lock}, {SHARED_CLAIM_LOCK}")

    def lock_limit_key(self, key: str) -> None:
        """Take a lock of the hash of the key."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [KEYS_LOCK, key]
            )

    def renew_leases(self, worker: str, fences: Mapping[UUID, int]) -> list[Renewed]:
        """Update the rows of one worker in one statement."""
        values = [
            [*fences],
            [*fences.values()],
            worker,
            float(settings.LEASE_SECONDS),
        ]
        rows = self._execute(_RENEW_LEASES, values, BY_KEY, is_text=True)
        return [tuple(row) for row in self._converted(RENEWED_COLUMNS, rows)]

    def write_records(self, rows: Rows) -> dict[UUID, int]:
        """Write the rows of all tables in one statement."""
        filled = {name: part for name in RECORD_TABLES if (part := getattr(rows, name))}
        runs = row_count(rows.runs)
        counts = tuple(
            (name, MANY if runs == MANY else row_count(part))
            for name, part in filled.items()
        )
        values = parameters(rows.runs, runs)
        for part, (_, number) in zip(filled.values(), counts, strict=True):
            values += parameters(part, number)
        return dict(self._execute(_write_records(runs, counts), values, BY_KEY))

    def _execute(
        self,
        statement: str,
        values: Sequence[Any],
        disabled: tuple[str, ...] = (),
        *,
        is_text: bool = False,
        before: str = "",
    ) -> list[tuple[Any, ...]]:
        """Execute a statement, see `binary.execute`; its results may be wanted as text."""
        from psycopg.pq import Format  # noqa: PLC0415 - not imported with SQLite

        from workflows.execution.sql import binary  # noqa: PLC0415 - as above

        return binary.execute(
            self.connection,
            statement,
            values,
            disabled=disabled,
            before=before,
            results=Format.TEXT if is_text else Format.BINARY,
        )


@functools.cache
def _claim_pending(*, has_admitted: bool) -> str:
    """Return a statement with one row at least: what the claim saw, and each run."""
    columns = "id, workflow_name, priority"
    candidates = " UNION ALL ".join(
        f"SELECT next.* FROM names, LATERAL ({following}) AS next WHERE {condition}"  # noqa: S608 - names are ours
        for condition, following in next_pending(columns, **_CLAIM_PARAMETERS)
    )
    if has_admitted:
        among = f"= ANY(${len(_CLAIM_PARAMETERS) + 1}::uuid[])"
        admitted = ADMITTED.format(runs=RUNS.name, admitted=among)
        candidates = f"{candidates} UNION ALL {admitted}"
    selected = SELECT_PENDING.format(
        runs=RUNS.name,
        pauses=PAUSES,
        candidates=candidates,
        are_counted="TRUE" if has_admitted else SEVERAL_NAMES,
        limited="run.id = ANY(ARRAY(SELECT id FROM ranked)) AND",
        lock="FOR UPDATE OF run SKIP LOCKED",
        **_CLAIM_PARAMETERS,
    )
    claimed = CLAIM_SELECTED.format(
        runs=RUNS.name,
        columns="claimed.*",
        first_stage=FIRST_STAGE.format(
            entry="(claimed.graph ->> 'entry')",
            json_object="json_build_object",
            **_CLAIM_PARAMETERS,
        ),
        until=_LEASE_END.format(_CLAIM_PARAMETERS["lease"]),
        selected="= ANY(ARRAY(SELECT id FROM selected))",
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
        f" SELECT (SELECT COUNT(*) FROM ranked), ({SUSPECTS_PENDING}), {CLAIMED_COLUMNS},"
        f" ({FIRST_CHECK})"
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
        f" WHERE run.id = ANY({RECORD_RUNS.first_parameters(runs)})"
        f" AND {IS_HELD.format(run='run.', new='new.')}"
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
