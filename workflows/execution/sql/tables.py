"""Tables as our own statements see them: columns with PostgreSQL's types, and a cursor."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import models

from workflows.models.exact_json import ExactJSONField

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

SMALL_BATCH = 2  # rows that are sent value by value: an array costs more than it saves
MANY = -1

# PostgreSQL's type for each kind of column we write in bulk; others are text
_TYPES = {
    "UUIDField": "uuid",
    "ForeignKey": "bigint",
    "BigIntegerField": "bigint",
    "PositiveIntegerField": "integer",
    "PositiveSmallIntegerField": "smallint",
    "FloatField": "double precision",
    "BooleanField": "boolean",
    "DateTimeField": "timestamptz",
    "JSONField": "jsonb",  # travels as JSON text
    "BinaryField": "bytea",
    "SmallIntegerField": "smallint",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, its type in PostgreSQL, and how its values get there."""

    name: str
    kind: str

    @property
    def given(self) -> str:
        """The type in which a value is sent: JSON goes as text."""
        return "text" if self.kind == "jsonb" else self.kind

    @property
    def cast(self) -> str:
        """What turns the sent value into the column's."""
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

    def given(self, rows: int, places: Iterator[int]) -> str:
        """Return the sent rows as `given`: a few one by one, else one array a column.

        `rows` is what `form` says of them; `places` numbers the parameters.
        """
        if rows == MANY:
            arrays = ", ".join(f"${next(places)}::{c.given}[]" for c in self.columns)
            return f"unnest({arrays}) AS given({self.names})"
        listed = ", ".join(
            f"({', '.join(f'${next(places)}::{c.given}' for c in self.columns)})"
            for _ in range(rows)
        )
        return f"(VALUES {listed}) AS given({self.names})"

    @property
    def values(self) -> str:
        """The columns of `given`, each in its type."""
        return ", ".join(
            f'given."{c.name}"{c.cast} AS "{c.name}"' for c in self.columns
        )


def table_of(
    model: type[models.Model], names: str, unique: str = "", updated: str = ""
) -> Table:
    """Return the table of a model with these columns; words stand apart by spaces."""
    fields = {field.attname: field for field in model._meta.concrete_fields}  # noqa: SLF001 - Django's documented model API
    columns = []
    for name in names.split():
        field = fields[name]
        if isinstance(field, models.ForeignKey):
            target = field.target_field.get_internal_type()
            kind = "UUIDField" if target == "UUIDField" else "ForeignKey"
        else:
            is_text = isinstance(field, ExactJSONField)
            kind = "TextField" if is_text else field.get_internal_type()
        columns.append(Column(name, _TYPES.get(kind, "text")))
    return Table(
        model._meta.db_table,  # noqa: SLF001
        tuple(columns),
        tuple(unique.split()),
        tuple(updated.split()),
    )


def all_columns(model: type[models.Model]) -> str:
    """Return the columns a new row is given: all but a key the database counts up."""
    fields = model._meta.concrete_fields  # noqa: SLF001
    return " ".join(
        field.attname for field in fields if not isinstance(field, models.AutoField)
    )


def form(rows: Sequence[Sequence[Any]]) -> int:
    """Return how many rows a statement has places for: their number, or MANY."""
    return len(rows) if len(rows) <= SMALL_BATCH else MANY


def sent(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the parameters that give these rows to a statement of their form."""
    if form(rows) == MANY:
        return [list(column) for column in zip(*rows, strict=True)]
    return [value for row in rows for value in row]


@contextmanager
def prepared(connection: BaseDatabaseWrapper) -> Iterator[psycopg.RawCursor[Any]]:
    """Give a cursor whose statements the server can prepare, on Django's connection.

    Django's own binds on the client. There are few forms of our statements and they run
    often, so they are worth preparing: each takes longer to plan than to run. Places are
    `$1`, `$2`, …: the driver would take a long text with others apart at each call.
    Every integer is sent as a bigint: its size would otherwise make another form.
    """
    import psycopg  # noqa: PLC0415 - only there when PostgreSQL is
    from psycopg.types.array import ListBinaryDumper  # noqa: PLC0415
    from psycopg.types.numeric import Int8BinaryDumper  # noqa: PLC0415

    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        psycopg.RawCursor(connection.connection) as cursor,
    ):
        cursor.adapters.register_dumper(int, Int8BinaryDumper)
        cursor.adapters.register_dumper(list, ListBinaryDumper)
        yield cursor
