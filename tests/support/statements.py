"""Counts the rows that statements touch, from the plans of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dj_database_url
from django.db.utils import ConnectionHandler

from workflows.execution.sql.postgresql import PostgreSQLDriver
from workflows.models import Run

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

EXPLAIN = "EXPLAIN (ANALYZE, FORMAT JSON, SETTINGS, TIMING OFF) "


def connect(url: str, **options: Any) -> BaseDatabaseWrapper:
    """Return a separate connection with the options of the settings."""
    database: dict[str, Any] = {**dj_database_url.parse(url)}
    database["OPTIONS"] = database["OPTIONS"] | {"prepare_threshold": 5} | options
    return ConnectionHandler({"default": database})["default"]


def query(
    connection: BaseDatabaseWrapper, sql: str, values: Sequence[Any] = ()
) -> list[Any]:
    """Execute a statement with a Django cursor; return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []


def copy_run(
    connection: BaseDatabaseWrapper, run: Run, number: int, **changes: str
) -> list[UUID]:
    """Insert copies of a run, with SQL expressions for changed columns; return their ids."""
    changes = {"id": "gen_random_uuid()"} | changes
    names = [str(field.column) for field in Run._meta.concrete_fields]  # noqa: SLF001
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(changes.get(name, f'"{name}"') for name in names)
    rows = query(
        connection,
        f"INSERT INTO workflows_run ({columns}) SELECT {values} FROM workflows_run,"  # noqa: S608
        " generate_series(1, %s) WHERE id = %s RETURNING id",
        [number, run.pk],
    )
    return [pk for (pk,) in rows]


class ExplainedDriver(PostgreSQLDriver):
    """A driver that counts the rows that its statements touch, with custom plans."""

    touched = 0
    settings: Mapping[str, str] = {}
    found: Sequence[tuple[Any, ...]] = ()  # what each statement returns to its caller

    def _execute(self, statement: str, *arguments: Any, **_options: Any) -> Any:
        (plan,) = super()._execute(EXPLAIN + statement, *arguments, is_text=True)
        self.touched += rows_touched(plan[0][0]["Plan"])
        self.settings = plan[0][0]["Settings"]
        return self.found


class PreparedDriver(PostgreSQLDriver):
    """A driver that records its last call, for `rows_touched_again`."""

    last: tuple[str, Sequence[Any]] = ("", ())

    def _execute(
        self, statement: str, values: Sequence[Any], *arguments: Any, **options: Any
    ) -> Any:
        self.last = (statement, values)
        return super()._execute(statement, values, *arguments, **options)

    def rows_touched_again(self) -> int:
        """Repeat the last call with the generic plan of the prepared statement."""
        import psycopg

        statement, values = self.last
        ((name, generic),) = query(
            self.connection,
            "SELECT name, generic_plans FROM pg_prepared_statements WHERE statement = %s",
            [statement],
        )
        assert generic, "The server used custom plans only."
        raw = self.connection.connection
        marks = ", ".join(["%s"] * len(values))
        with psycopg.ClientCursor(raw) as cursor:
            cursor.execute(f"{EXPLAIN} EXECUTE {name}({marks})", values)
            ((plan,),) = cursor.fetchall()
        again = query(
            self.connection,
            "SELECT generic_plans FROM pg_prepared_statements WHERE name = %s",
            [name],
        )
        assert again == [(generic + 1,)]
        return rows_touched(plan[0]["Plan"])


def rows_touched(plan: Mapping[str, Any]) -> int:
    """Return the number of rows that all parts of an executed plan returned or rejected."""
    kinds = ("Filter", "Join Filter", "Index Recheck")
    rows = plan["Actual Rows"] + sum(
        plan.get(f"Rows Removed by {kind}", 0) for kind in kinds
    )
    return int(rows * plan["Actual Loops"]) + sum(
        map(rows_touched, plan.get("Plans", ()))
    )
