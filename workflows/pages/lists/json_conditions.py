"""Parser of conditions on values inside JSON columns, as users write them.

    params.threshold >= 0.8
    result.label ~ secret and params.limit in (3, 4) and params.due < 2026-07-01

A path consists of keys of nested objects. Operators are = and != for one value,
`in (…)` for one of several, > >= < <= for numbers and dates, ~ for a text that contains
another, or a list with such a text. A quoted value is text, even if it looks like a
number; an unquoted one matches both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import F, Q
from django.db.models.fields.json import KeyTransform

from workflows.models.exact_json import AsJson
from workflows.pages.lists.json_matching import LOWER, Test, instant
from workflows.pages.query_string import MAX_TEXT_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models.expressions import Combinable

EXACT = frozenset({"params", "result"})  # columns of JSON text
MAX_CONDITIONS = 5
MAX_VALUES = 20  # of one `in`
MAX_INDEX = 1_000_000  # in a list
MAX_PATH_KEYS = 8
MAX_EXPONENT = 1_000  # of a number that is compared
AND = re.compile(r"\s+and(\s+|$)", re.IGNORECASE)
OPERATOR = re.compile(r"\s*(==|!=|>=|<=|=|>|<|~|\s(?:in|IN)\s*(?=\())\s*")
PATH = re.compile(r"[^=!<>~]*?(?=\s*(?:[=!<>~]|\s(?:in|IN)\s*\())")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
OPERATORS = "=, !=, >, >=, <, <=, ~ (contains) and in (…)"
COMPARED = frozenset({">", ">=", "<", "<="})


class BadCondition(ValueError):
    """The text is not a valid condition; the message names the error and its position."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a value inside a column."""

    column: str
    test: Test

    @property
    def is_indexed(self) -> bool:
        """Return whether PostgreSQL's index of values covers it."""
        return self.test.is_indexed

    def q(self) -> Q:
        """Return the condition as a Q object."""
        return self.test.q(at(self.column, ()))


def at(column: str, path: Sequence[str]) -> Combinable:
    """Return the value at a path inside a JSON column."""
    inner: Any = AsJson(F(column)) if column in EXACT else F(column)
    for key in path:
        inner = KeyTransform(key, inner)
    return inner  # type: ignore[no-any-return]


def is_key(text: str) -> bool:
    """Return whether both databases accept a text as a key or as an index of a list."""
    try:
        index = int(text)
    except ValueError:
        return bool(text)
    return text.isascii() and text.isdigit() and index < MAX_INDEX


def read(text: str, columns: Sequence[str], *, column: str = "") -> list[Condition]:
    """Return the conditions of a text. Raises BadCondition.

    Paths begin with one of `columns`; with `column`, that one is implied.
    """
    text = text.replace("\x00", "").strip()
    if not text:
        return []
    if len(text) > MAX_TEXT_LENGTH:
        raise BadCondition(f"Maximum {MAX_TEXT_LENGTH} characters.")
    return _Reader(text, columns, column).read()


def read_or_error(
    text: str, columns: Sequence[str], *, column: str = ""
) -> tuple[tuple[Condition, ...], str]:
    """Return the conditions of a text, and the error: "" if the text is valid."""
    try:
        return tuple(read(text, columns, column=column)), ""
    except BadCondition as error:
        return (), str(error)


class _Reader:
    """Recursive-descent parser of a text."""

    def __init__(self, text: str, columns: Sequence[str], column: str) -> None:
        self._text, self._columns, self._column = text, columns, column
        self._place = 0
        self._example = "name = value" if column else f"{columns[0]}.name = value"

    def read(self) -> list[Condition]:
        """Return the conditions. Raises BadCondition, also for too many."""
        found = [self._condition()]
        while self._place < len(self._text):
            joint = AND.match(self._text, self._place)
            if joint is None:
                raise self._error("Join conditions with “and”.")
            if len(found) == MAX_CONDITIONS:
                raise self._error(f"Maximum {MAX_CONDITIONS} conditions.")
            self._place = joint.end()
            found.append(self._condition())
        return found

    def _error(self, why: str, place: int | None = None) -> BadCondition:
        found = self._place if place is None else place
        return BadCondition(f"At character {found + 1}: {why}")

    def _condition(self) -> Condition:
        path = self._path()
        operator = OPERATOR.match(self._text, self._place)
        if operator is None:
            self._skip_space()
            raise self._error(f"Unknown operator “!”. Use {OPERATORS}.")
        sign = operator[1].strip().lower().replace("==", "=")
        self._place = operator.end()
        if sign == "in":
            return Condition(path[0], Test(path[1:], "=", self._values()))
        begin = self._place
        value, is_quoted = self._value(until=AND)
        if not value and not is_quoted:
            raise self._error(
                f'Missing value after “{sign}”. Use "" for empty text.',
            )
        operands = self._operands(sign, value, is_quoted, begin)
        return Condition(path[0], Test(path[1:], sign, operands))

    def _path(self) -> tuple[str, ...]:
        """Parse the path of a value: a column, then keys."""
        begin = self._place
        written = PATH.match(self._text, begin)
        if written is None:
            rest = AND.split(self._text[begin:])[0] or "nothing"
            raise self._error(
                f"“{rest}” is not a condition. Use “{self._example}” with {OPERATORS}."
            )
        keys = [key.strip() for key in written[0].strip().split(".")]
        path = [self._column] * bool(self._column) + keys
        if path[0] not in self._columns:
            named = " or ".join(self._columns)
            raise self._error(f"Start with {named}, as in “{self._example}”.", begin)
        if not all(map(is_key, path)) or len(path) < 2:  # noqa: PLR2004 - column and key
            raise self._error(f"Name a value, as in “{self._example}”.", begin)
        if len(path) > MAX_PATH_KEYS:
            raise self._error(f"Maximum {MAX_PATH_KEYS} names in a path.", begin)
        self._place = written.end()
        return tuple(path)

    def _value(self, until: re.Pattern[str]) -> tuple[str, bool]:
        """Return the value up to `until`, and whether it was quoted."""
        if self._text.startswith('"', self._place):
            return self._quoted(), True
        end = until.search(self._text, self._place)
        stop = end.start() if end else len(self._text)
        value = self._text[self._place : stop].strip()
        self._place = stop
        return value, False

    def _quoted(self) -> str:
        try:
            value, self._place = json.JSONDecoder().raw_decode(self._text, self._place)
        except ValueError as error:
            raise self._error("Unclosed quotes.") from error
        return str(value).encode(errors="replace").decode().replace("\x00", "")

    def _values(self) -> tuple[str, ...]:
        """Return the values of `in (…)`."""
        begin = self._place
        found: list[str] = []
        for _ in range(MAX_VALUES):
            self._place += 1  # past the bracket or comma
            self._skip_space()
            place = self._place
            value, is_quoted = self._value(until=re.compile(r"[,)]"))
            if not value and not is_quoted:
                raise self._error("Missing value. Use “in (1, 2)”.", place)
            found += self._operands("=", value, is_quoted, place)
            self._skip_space()
            if self._text.startswith(")", self._place):
                self._place += 1
                return tuple(found)
            if not self._text.startswith(",", self._place):
                raise self._error("Missing “,” or “)”.")
        raise self._error(f"Maximum {MAX_VALUES} values.", begin)

    def _skip_space(self) -> None:
        while self._text[self._place : self._place + 1].isspace():
            self._place += 1

    def _operands(
        self, sign: str, value: str, is_quoted: bool, place: int
    ) -> tuple[str, ...]:
        try:
            return operands_of(sign, value, is_quoted)
        except ValueError as error:
            raise self._error(str(error), place) from error


def operands_of(sign: str, value: str, is_quoted: bool) -> tuple[str, ...]:
    """Return the operands of a test. Raises ValueError with a sentence."""
    if sign == "~":
        return (json.dumps(value.translate(LOWER)),)
    if sign not in COMPARED:
        return (json.dumps(value),) if is_quoted else _alternatives(value)
    if not is_quoted and _is_number(value):
        return (value,)
    if instant(value) is not None:
        return (json.dumps(value),)
    raise ValueError(
        f"“{sign}” needs a number or a date such as 2026-07-01, not “{value}”."
    )


def _is_number(text: str) -> bool:
    """Return whether a text is a JSON number of a size that can be compared."""
    if not NUMBER.fullmatch(text):
        return False
    return abs(Decimal(text).adjusted()) <= MAX_EXPONENT


def _alternatives(text: str) -> tuple[str, ...]:
    """Return the JSON values that an unquoted text matches: as text, and as written."""
    as_text = json.dumps(text.encode(errors="replace").decode())
    if text in {"true", "false", "null"} or _is_number(text):
        return (text, as_text)
    return (as_text,)
