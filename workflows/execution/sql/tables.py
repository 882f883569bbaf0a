"""Tables that are written by SQL of this package, and the fragments of its statements."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.db import models

from workflows.models.exact_json import ExactJSONField

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


SMALL_BATCH = 1  # rows sent value by value
MANY = -1  # stands for any number of rows, sent as one array per column

# PostgreSQL's type for each kind of field written here; others are text
_TYPES = {
    "UUIDField": "uuid",
    "ForeignKey": "bigint",
    "BigIntegerField": "bigint",
    "PositiveIntegerField": "integer",
    "PositiveSmallIntegerField": "smallint",
    "FloatField": "double precision",
    "BooleanField": "boolean",
    "DateTimeField": "timestamptz",
    "JSONField": "jsonb",  # sent as JSON text
    "BinaryField": "bytea",
    "SmallIntegerField": "smallint",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its type in PostgreSQL."""

    name: str
    kind: str

    @property
    def sent_kind(self) -> str:
        """The type in which a value is sent: JSON as text."""
        return "text" if self.kind == "jsonb" else self.kind

    @property
    def cast(self) -> str:
        """The cast from the sent type to the column's."""
        return "::jsonb" if self.kind == "jsonb" else ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table and the columns written, in the order of the values in a row."""

    name: str
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()  # overwritten on conflict; () = leave the row

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def names(self) -> str:
        """The column names, quoted, separated by commas."""
        return ", ".join(f'"{name}"' for name in self.column_names)

    def insert(self, marks: str) -> str:
        """Return the INSERT of one row with these placeholders."""
        return f"INSERT INTO {self.name} ({self.names}) VALUES ({marks})"  # noqa: S608 - names are ours

    def with_columns(self, *columns: Column) -> Table:
        """Return the table with further columns, for values that it does not store."""
        return replace(self, columns=(*self.columns, *columns))

    @property
    def conflict(self) -> str:
        """The clause for a row that exists already."""
        keys = ", ".join(f'"{name}"' for name in self.unique)
        if not self.updated:
            return f"ON CONFLICT ({keys}) DO NOTHING"
        sets = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in self.updated)
        return f"ON CONFLICT ({keys}) DO UPDATE SET {sets}"

    def parameter_rows(self, rows: int, numbers: Iterator[int]) -> str:
        """Return a FROM item `sent`: a few rows one by one, else one array per column.

        `rows` is the result of `row_count`; `numbers` numbers the parameters.
        """
        if rows == MANY:
            arrays = ", ".join(
                f"${next(numbers)}::{c.sent_kind}[]" for c in self.columns
            )
            return f"unnest({arrays}) AS sent({self.names})"
        listed = ", ".join(
            f"({', '.join(f'${next(numbers)}::{c.sent_kind}' for c in self.columns)})"
            for _ in range(rows)
        )
        return f"(VALUES {listed}) AS sent({self.names})"

    def first_parameters(self, rows: int) -> str:
        """Return the array of the first column in `parameter_rows`, numbered from 1."""
        kind = self.columns[0].sent_kind
        if rows == MANY:
            return f"$1::{kind}[]"
        numbers = range(1, rows * len(self.columns), len(self.columns))
        return f"ARRAY[{', '.join(f'${number}::{kind}' for number in numbers)}]"

    @property
    def typed_columns(self) -> str:
        """The columns of `sent`, each cast to its type."""
        return ", ".join(f'sent."{c.name}"{c.cast} AS "{c.name}"' for c in self.columns)


def table_of(
    model: type[models.Model], names: str, unique: str = "", updated: str = ""
) -> Table:
    """Return the table of a model; the arguments are field names separated by spaces."""
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
    """Return the columns that an insert sets: all except an automatic key."""
    fields = model._meta.concrete_fields  # noqa: SLF001
    return " ".join(
        field.attname for field in fields if not isinstance(field, models.AutoField)
    )


def row_count(rows: Sequence[Sequence[Any]]) -> int:
    """Return the number of rows that a statement has parameters for, or MANY."""
    return len(rows) if len(rows) <= SMALL_BATCH else MANY


def parameters(rows: Sequence[Sequence[Any]], number: int | None = None) -> list[Any]:
    """Return the parameters for these rows, in the order of `Table.parameter_rows`.

    `number` is what `parameter_rows` was given, by default the result of `row_count`.
    """
    if (row_count(rows) if number is None else number) == MANY:
        return [list(column) for column in zip(*rows, strict=True)]
    return [value for row in rows for value in row]
