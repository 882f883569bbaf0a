"""SQLite: one statement per table, several in one transaction; round trips cost nothing."""

from __future__ import annotations

import datetime as dt
import functools
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from workflows.execution.sql.claim_statements import (
    ADMITTED,
    ATTEMPTS,
    AUDIT_EVENTS,
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
from workflows.execution.sql.launches import (
    IS_FREE,
    attempt_row,
    claimed_values,
    event_row,
    first_stage,
    run_row,
)
from workflows.execution.sql.record_statements import (
    IS_HELD,
    RECORD_RUNS,
    RECORD_TABLES,
    RUN_ASSIGNMENTS,
)
from workflows.models import Attempt, Run
from workflows.models.new_rows import new_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from workflows.execution.record_rows import Rows
    from workflows.execution.sql.driver import Renewed
    from workflows.execution.sql.launches import NewRun, Offer
    from workflows.execution.sql.tables import Table


class SQLiteDriver(Driver):
    """Statements for a database in the same process."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a transaction for the statements of one batch."""
        return transaction.atomic(self.connection.alias)

    def insert_runs(
        self, launches: Sequence[NewRun], offer: Offer | None = None
    ) -> dict[UUID, str]:
        """Insert each run, then its event and its attempt unless it had a conflict."""
        inserted: dict[UUID, str] = {}
        with self.transaction():
            names = {launch.run.workflow_name for launch in launches}
            claim = offer if offer and self._has_room(offer, names) else None
            for launch in launches:
                row = _stored(run_row.of(launch.run))
                if claim is not None:
                    row = self._claimed_values(launch.run, row, claim)
                result = self._execute(_insert(RUNS, "RETURNING id, status"), row)
                if (stored := result.fetchone()) is None:
                    continue
                inserted[launch.run.pk] = stored[1]
                event = _stored(event_row.of(launch.event))
                self._execute(_insert(AUDIT_EVENTS), event)
                if claim is not None:
                    self._open_attempt(launch.run, claim)
        return inserted

    def _open_attempt(self, run: Run, claim: Offer) -> None:
        attempt = new_row(
            Attempt, run_id=run.pk, number=1, worker=claim.worker, started_at=claim.now
        )
        self._execute(_insert(ATTEMPTS), _stored(attempt_row.of(attempt)))

    def _has_room(self, offer: Offer, names: Iterable[str]) -> bool:
        """Return whether runs of these workflows may be claimed, see `IS_FREE`."""
        values = [offer.further + 1, offer.further, json.dumps([*names])]
        return bool(self._execute(_IS_FREE, values).fetchone()[0])

    def _claimed_values(self, run: Run, row: list[Any], offer: Offer) -> list[Any]:
        now = self.connection.ops.adapt_datetimefield_value(offer.now)
        claimed = claimed_values(run, offer) | {
            "current_stage": first_stage(run, offer.now),
            "lease_expires_at": self._lease_end(),
            "started_at": now,
            "updated_at": now,
        }
        return [
            claimed.get(name, value)
            for name, value in zip(RUNS.column_names, row, strict=True)
        ]

    def wait_for_claims(self) -> None:
        """Do nothing: a transaction that has written is the only one that writes."""

    def lock_limits(self) -> None:
        """Do nothing: a transaction is the only one that writes from its beginning."""

    def lock_limit_key(self, key: str) -> None:
        """Do nothing, for the same reason."""

    def claim_pending(  # noqa: PLR0913, PLR0917 - as one statement
        self,
        worker: str,
        limit: int,
        now: dt.datetime,
        fence: int,
        suspicion: int = 0,
        admitted: Sequence[UUID] = (),
    ) -> Claimed:
        """Claim runs, then insert an attempt of each."""
        values: dict[str, Any] = {
            "worker": worker,
            "limit": limit,
            "lookahead": limit * LOOKAHEAD,
            "now": self.connection.ops.adapt_datetimefield_value(now),
            "lease": self._lease_end(),
            "fence": fence,
            "suspicion": suspicion,
            "began": now.isoformat(),
            "admitted": json.dumps([pk.hex for pk in admitted]),
        }
        with self.transaction():
            with self.connection.cursor() as cursor:
                cursor.execute(_claim_pending(has_admitted=bool(admitted)), values)
                runs = self._to_runs(cursor.fetchall())
                cursor.execute(f"SELECT ({SUSPECTS_PENDING}), ({FIRST_CHECK})")
                suspects, due_at = cursor.fetchone()
            Attempt.objects.bulk_create(
                Attempt(run=run, number=run.attempt, worker=worker, started_at=now)
                for run in runs
            )
        return Claimed(runs, len(runs) == limit, suspects is not None, due_at)

    def renew_leases(self, worker: str, fences: Mapping[UUID, int]) -> list[Renewed]:
        """Set the end of the leases by this machine's clock: there is only one."""
        marks = ", ".join(["(%s, %s)"] * len(fences))
        key = Run._meta.pk  # noqa: SLF001 - Django's documented model API
        keys = [
            value
            for pk, fence in fences.items()
            for value in (key.get_db_prep_value(pk, self.connection), fence)
        ]
        condition = IS_RENEWABLE.format(run=f"{RUNS.name}.", held="held.", worker="%s")
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"WITH held(id, fence) AS (VALUES {marks})"  # noqa: S608 - names are ours
                f" UPDATE {RUNS.name} SET lease_expires_at = %s FROM held"
                f" WHERE {condition} RETURNING {', '.join(RENEWED_COLUMNS)}",
                [*keys, self._lease_end(), worker],
            )
            rows = self._converted(RENEWED_COLUMNS, cursor.fetchall())
            return [tuple(row) for row in rows]

    def write_records(self, rows: Rows) -> dict[UUID, int]:
        """Move the runs one by one, then insert the rows of those that were moved."""
        moved = self._move(rows.runs)
        for name, table in RECORD_TABLES.items():
            self._insert(table, [row for row in getattr(rows, name) if row[0] in moved])
        return moved

    # Straight to the driver: Django would rewrite the text of each statement at each call.

    def _move(self, rows: Sequence[Sequence[Any]]) -> dict[UUID, int]:
        moved: dict[UUID, int] = {}
        with self.connection.wrap_database_errors:
            for row in rows:
                result = self.connection.connection.execute(_MOVE_RUN, _stored(row))
                if version := result.fetchone():
                    moved[row[0]] = version[0]
        return moved

    def _execute(self, statement: str, values: Sequence[Any]) -> Any:
        with self.connection.wrap_database_errors:
            return self.connection.connection.execute(statement, values)

    def _insert(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        with self.connection.wrap_database_errors:
            self.connection.connection.executemany(
                _upsert(table), [_stored(row) for row in rows]
            )

    def _lease_end(self) -> str:
        end = timezone.now() + dt.timedelta(seconds=settings.LEASE_SECONDS)
        return str(self.connection.ops.adapt_datetimefield_value(end))


@functools.cache
def _insert(table: Table, returning: str = "") -> str:
    """Return the INSERT of a row; without `returning` a conflict is an error."""
    marks = ", ".join("?" * len(table.columns))
    conflict = f"{table.conflict} {returning}" if returning else ""
    return f"{table.insert(marks)} {conflict}"


@functools.cache
def _claim_pending(*, has_admitted: bool) -> str:
    names = (
        *("worker", "limit", "lookahead", "now", "lease", "fence", "suspicion"),
        *("began", "admitted"),
    )
    places = {name: f"%({name})s" for name in names}
    candidates = " UNION ALL ".join(
        "SELECT run.id, run.workflow_name, run.priority"  # noqa: S608 - names are ours
        f" FROM names JOIN {RUNS.name} AS run ON run.id IN ({following}) WHERE {condition}"
        for condition, following in next_pending("id", **places)
    )
    if has_admitted:
        values = f"SELECT value FROM json_each({places['admitted']})"  # noqa: S608 - as above
        admitted = ADMITTED.format(runs=RUNS.name, admitted=f"IN ({values})")
        candidates = f"{candidates} UNION ALL {admitted}"
    first_stage = FIRST_STAGE.format(
        entry="json_extract(claimed.graph, '$.entry')",
        json_object="json_object",
        **places,
    )
    return SELECT_PENDING.format(
        runs=RUNS.name,
        pauses=PAUSES,
        candidates=candidates,
        are_counted="TRUE" if has_admitted else SEVERAL_NAMES,
        limited="",
        lock="",
        **places,
    ) + CLAIM_SELECTED.format(
        runs=RUNS.name,
        columns=CLAIMED_COLUMNS,
        until=places["lease"],
        selected="IN (SELECT id FROM selected)",
        first_stage=first_stage,
        **places,
    )


_AMONG: Final = "IN (SELECT value FROM json_each(?))"
_IS_FREE: Final = f"SELECT {IS_FREE.format(limit='?', further='?', among=_AMONG)}"
_MOVE_RUN: Final = (
    f"WITH new({RECORD_RUNS.names})"  # noqa: S608 - names are ours
    f" AS (VALUES ({', '.join('?' * len(RECORD_RUNS.columns))}))"
    f" UPDATE {RECORD_RUNS.name}"
    f" SET {RUN_ASSIGNMENTS.format(run=f'{RECORD_RUNS.name}.', new='new.')} FROM new"
    f" WHERE {IS_HELD.format(run=f'{RECORD_RUNS.name}.', new='new.')}"
    " RETURNING version"
)


@functools.cache
def _upsert(table: Table) -> str:
    marks = ", ".join("?" * len(table.columns))
    return f"{table.insert(marks)} {table.conflict}"


def _stored(row: Sequence[Any]) -> list[Any]:
    """Return the values of a row as Django stores them in SQLite."""
    return [
        _CONVERTERS[kind](value) if (kind := type(value)) in _CONVERTERS else value
        for value in row
    ]


_CONVERTERS: Mapping[type, Callable[[Any], Any]] = {
    UUID: lambda value: value.hex,
    dt.datetime: lambda value: str(value.astimezone(dt.UTC).replace(tzinfo=None)),
}
