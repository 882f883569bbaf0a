"""Rows of a CSV or JSON Lines file as params of launches, checked before any is queued.

Cells of CSV are read by the fields of the launch form, so that a text means the same in both;
JSON has its types. Then each row is checked like the params of a single launch.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from workflows.errors import InvalidBatch, InvalidParams
from workflows.execution.params import check_params
from workflows.pages.forms import json_schema as schemas
from workflows.pages.forms.fields import DocumentField, DocumentsField
from workflows.pages.forms.schema_form import SchemaForm, put
from workflows.webhooks.mapping import refuse_constant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.auth.models import User

    from workflows.registry import AnyWorkflow

Kind = Literal["csv", "jsonl"]
KINDS: Final[tuple[Kind, ...]] = ("csv", "jsonl")
MAX_ERRORS: Final = 100  # that are reported
MAX_COLUMNS: Final = 200
DELIMITERS: Final = ",;\t"
YES: Final = frozenset({"true", "yes", "on", "1"})
NO: Final = frozenset({"false", "no", "off", "0"})
SEPARATORS: Final = re.compile(r"[\s_\-]+")
UNKNOWN: Final = "?"
BATCH_WIDE: Final = 0  # number of an error that belongs to no row


@dataclass(frozen=True, slots=True)
class CellError:
    """Why a row, or the whole file, cannot be launched."""

    row: int  # 1 = the first row after the header; BATCH_WIDE = the file
    line: int  # of the file
    column: str  # "" = the row as a whole
    message: str

    @property
    def place(self) -> str:
        """Return row and column, for programs."""
        if not self.row:
            return self.column
        return f"row {self.row}, {self.column}" if self.column else f"row {self.row}"


@dataclass(slots=True)
class Batch:
    """The params of the rows, or what is wrong with them."""

    params: list[dict[str, Any]] = field(default_factory=list)
    errors: list[CellError] = field(default_factory=list)
    # column → path, "" = ignored, UNKNOWN = there is no such param
    mapping: dict[str, str] = field(default_factory=dict)
    total: int = 0  # rows

    @property
    def more(self) -> int:
        """Return how many errors are not reported."""
        return max(0, len(self.errors) - MAX_ERRORS)

    @property
    def shown(self) -> list[CellError]:
        """Return the errors that are reported."""
        return self.errors[:MAX_ERRORS]

    def require_valid(self) -> None:
        """Raise InvalidBatch, with a message for each place, if there are errors."""
        found: dict[str, list[str]] = {}
        for error in self.shown:
            found.setdefault(error.place, []).append(error.message)
        if found:
            raise InvalidBatch(found)


def kind_of(name: str, content_type: str = "") -> Kind:
    """Return the format of a file by its name or media type, by default CSV."""
    is_json = name.lower().endswith((".jsonl", ".ndjson", ".json"))
    return "jsonl" if is_json or "json" in content_type else "csv"


def read_batch(  # noqa: PLR0913 - the file, and how to read it
    workflow: AnyWorkflow,
    schema: Mapping[str, Any],
    data: bytes,
    kind: Kind,
    *,
    by: User | None,
    mapping: Mapping[str, str] | None = None,
) -> Batch:
    """Return the checked rows of a file.

    `mapping` has the paths of columns that are not found by their names; "" ignores one.
    Raises InvalidBatch for a file that cannot be read at all.
    """
    if len(data) > settings.MAX_BATCH_BYTES:
        text = f"The file may have up to {settings.MAX_BATCH_BYTES:,} bytes."
        raise InvalidBatch({"": [text]})
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidBatch({"": ["The file is not UTF-8 text."]}) from error
    reader = _Reader(workflow, schema, by, mapping or {})
    rows = _csv_rows(text) if kind == "csv" else _json_rows(text)
    for number, (line, row) in enumerate(rows, 1):
        if number > settings.MAX_BATCH_ROWS:
            most = settings.MAX_BATCH_ROWS
            raise InvalidBatch({"": [f"A batch has up to {most:,} rows."]})
        reader.add(number, line, row)
    if not reader.batch.total:
        raise InvalidBatch({"": ["The file has no rows."]})
    return reader.batch


# Files ----------------------------------------------------------------------------------


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the line and the cells of each row that is not empty."""
    if "\x00" in text:
        raise InvalidBatch({"": ["The file contains NUL characters."]})
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, _Cells(header, cells)
    except csv.Error as error:
        where = f"Line {reader.line_num}: {error}."
        raise InvalidBatch({"": [where]}) from error


def _check_header(header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise InvalidBatch({"": [f"A batch has up to {MAX_COLUMNS} columns."]})
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise InvalidBatch(
            {name: ["The file has this column twice."] for name in twice}
        )


@dataclass(frozen=True, slots=True)
class _Cells:
    """A row of CSV: texts by column."""

    header: Sequence[str]
    values: Sequence[str]


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the line and the value of each line that is not empty."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line, parse_constant=refuse_constant)
            except (ValueError, RecursionError):
                yield number, InvalidBatch({"": ["The line is not valid JSON."]})


# Rows -----------------------------------------------------------------------------------


class _Reader:
    """Reads and checks the rows of one file."""

    def __init__(
        self,
        workflow: AnyWorkflow,
        schema: Mapping[str, Any],
        by: User | None,
        mapping: Mapping[str, str],
    ) -> None:
        self.workflow, self.by, self.given = workflow, by, mapping
        self.is_free = workflow.params_type is None or schemas.is_free(schema)
        self.form = SchemaForm(schema, by=by)
        self.paths = {} if self.is_free else _names(schema, self.form)
        self.batch = Batch()

    def add(self, number: int, line: int, row: Any) -> None:
        """Read a row."""
        self.batch.total += 1
        before = len(self.batch.errors)

        def fail(column: str, message: str) -> None:
            self.batch.errors.append(CellError(number, line, column, message))

        params: dict[str, Any] = {}
        if isinstance(row, _Cells):
            if len(row.values) > len(row.header):
                fail("", "The row has more cells than the header.")
            self._note_columns(row.header, fail)
            for column, text in zip(row.header, row.values, strict=False):
                self._read_cell(params, column, text, fail)
        elif isinstance(row, dict):
            self._note_columns(list(row), fail)
            for key, value in row.items():
                self._set(params, key, value)
        else:
            fail("", "The line is not valid JSON." if row else "Enter a JSON object.")
        if len(self.batch.errors) == before:
            self._check(params, fail)

    def _read_cell(
        self, params: dict[str, Any], column: str, text: str, fail: Any
    ) -> None:
        if not text.strip() or not column:
            return  # left to the default
        path = self._path(column)
        if not path:
            return
        try:
            value = self._converted(path, text)
        except ValidationError as error:
            fail(column, " ".join(error.messages))
            return
        self._set(params, column, value)

    def _converted(self, path: str, text: str) -> Any:
        """Return the value of a cell. Raises ValidationError."""
        made = self.form.fields.get(path)
        if made is None or self.is_free:
            return _json_or_text(text)
        for kind, read in READERS.items():
            if isinstance(made, kind):
                return read(text)
        return made.clean(text)

    def _note_columns(self, columns: Sequence[str], fail: Any) -> None:
        """Note new columns; add an error for one without a param, once."""
        for column in columns:
            if not column or column in self.batch.mapping:
                continue
            path = self._path(column)
            self.batch.mapping[column] = UNKNOWN if path is None else path
            if path is None:
                known = ", ".join(dict.fromkeys(self.paths.values()))
                fail(column, f"There is no such parameter. There are: {known}.")

    def _set(self, params: dict[str, Any], column: str, value: Any) -> None:
        path = self._path(column)
        if path and self.is_free:
            params[path] = value
        elif path:
            put(params, path, value)

    def _path(self, column: str) -> str | None:
        """Return the path of a column, "" to ignore it, None if there is no such param."""
        if column in self.given:
            given = self.given[column]
            known = not given or self.is_free or given in self.paths.values()
            return given if known else None
        return column if self.is_free else self.paths.get(_plain(column))

    def _check(self, params: dict[str, Any], fail: Any) -> None:
        try:
            check_params(self.workflow, params, by=self.by)
        except InvalidParams as error:
            columns = {path: name for name, path in self.batch.mapping.items()}
            for name, messages in error.errors.items():
                for message in messages:
                    fail(columns.get(name, name), message)
        else:
            self.batch.params.append(params)


def _names(schema: Mapping[str, Any], form: SchemaForm) -> dict[str, str]:
    """Return the paths of fields by the plain forms of their paths and titles.

    A title that several fields share identifies none of them.
    """
    by_title: dict[str, list[str]] = {}
    for path, made in form.fields.items():
        if ":" not in path:
            by_title.setdefault(_plain(str(made.label)), []).append(path)
    names = {title: paths[0] for title, paths in by_title.items() if len(paths) == 1}
    for one in _properties(schema):
        names[_plain(one.path)] = one.path
    return names


def _properties(
    schema: Mapping[str, Any], below: schemas.Property | None = None
) -> Iterator[schemas.Property]:
    """Yield the properties of a schema, groups before what is in them."""
    part = below.schema if below else None
    for one in schemas.properties(schema, part, below.path if below else ""):
        yield one
        if schemas.is_group(schema, one):
            yield from _properties(schema, one)


def _plain(name: str) -> str:
    """Return a name without case, spaces, hyphens and underscores."""
    return SEPARATORS.sub("", name).casefold()


def _boolean_of(text: str) -> bool:
    plain = text.strip().casefold()
    if plain not in YES | NO:
        raise ValidationError("Enter true or false.")
    return plain in YES


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text


READERS: Final[Mapping[type[forms.Field], Callable[[str], Any]]] = {
    DocumentField: str.strip,
    DocumentsField: lambda text: text.replace(",", " ").split(),
    forms.BooleanField: _boolean_of,
}
"""How cells are read whose fields offer choices; `check_params` checks the values."""
