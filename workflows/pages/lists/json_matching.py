"""Conditions on values inside JSON columns, with the same results on both databases.

PostgreSQL evaluates them in SQL, SQLite by a Python function that is registered on its
connections. Numbers are compared as exact decimals; dates and times as instants, in UTC
without an offset, a date as its midnight. Case is ignored for A to Z only, which is what
both databases can do alike.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any

from django.db.backends.signals import connection_created
from django.db.models import BooleanField, Func, Q

from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from django.db.models.expressions import Combinable

FUNCTION = "signalbox_holds"
LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda value, wanted: value > wanted,
    ">=": lambda value, wanted: value >= wanted,
    "<": lambda value, wanted: value < wanted,
    "<=": lambda value, wanted: value <= wanted,
}
# Dates and times that both databases accept, with valid days of the month and leap years.
DATE = (
    "((?!0000)[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][48]|[13579][26]|[2468]0)00)-02-29)"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
    "(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?)?"
)
_DATE = re.compile(DATE)


@dataclass(frozen=True, slots=True)
class Test:
    """A test of the value at a path: an operator and its operands.

    `operator` is one of = != > >= < <= ~. `operands` are JSON texts: for = and !=, the
    alternatives; for ~, one text in lower case; for the others one number or date.
    """

    path: tuple[str, ...]
    operator: str
    operands: tuple[str, ...]

    @property
    def is_indexed(self) -> bool:
        """Return whether PostgreSQL's index of values covers the test.

        It does not if a key may be an index of a list, or if dates are compared.
        """
        return (
            self.operator == "="
            and not any(key.isdigit() for key in self.path)
            and not any(map(_instant_of, self.operands))
        )

    def q(self, column: Combinable) -> Q:
        """Return the test of a JSON expression as a Q object."""
        return Q(Holds(column, self))


class Holds(Func):
    """SQL condition that a test holds for a JSON column; false without a value."""

    output_field = BooleanField()

    def __init__(self, column: Combinable, test: Test, **extra: Any) -> None:
        super().__init__(column, **extra)
        self.test = test

    def as_sqlite(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        test = [self.test.path, self.test.operator, self.test.operands]
        return f"{FUNCTION}({column}, %s)", (*params, json.dumps(test))

    def as_postgresql(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, list[Any]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        if self.test.is_indexed:
            either = [f"{column} @> %s::jsonb" for _ in self.test.operands]
            sql = f"({' OR '.join(either)})"
            return sql, [
                one
                for operand in self.test.operands
                for one in (*params, _nested(self.test.path, operand))
            ]
        condition, values = _in_sql(self.test)
        sql = (
            f"COALESCE((SELECT {condition} FROM"  # noqa: S608 - values are parameters
            f" (SELECT {column} #> %s::text[] AS v) AS found), FALSE)"
        )
        return sql, [*values, *params, list(self.test.path)]


# PostgreSQL -----------------------------------------------------------------------------

TEXT = "(v #>> '{}')"
IS_DATE = f"jsonb_typeof(v) = 'string' AND {TEXT} ~ '^({DATE})$'"
LETTERS = f"'{ascii_uppercase}', '{ascii_lowercase}'"
CONTAINS = f"""(
    jsonb_typeof(v) = 'string' AND strpos(translate({TEXT}, {LETTERS}), %s) > 0
    OR EXISTS (
        SELECT 1 FROM jsonb_array_elements(
            CASE WHEN jsonb_typeof(v) = 'array' THEN v ELSE '[]'::jsonb END
        ) AS item
        WHERE jsonb_typeof(item) = 'string'
        AND strpos(translate(item #>> '{{}}', {LETTERS}), %s) > 0
    )
)"""  # noqa: S608 - made of constants


def _in_sql(test: Test) -> tuple[str, list[Any]]:
    """Return the SQL of a test of `v`, and its parameters."""
    if test.operator == "~":
        needle = json.loads(test.operands[0])
        return CONTAINS, [needle, needle]
    if test.operator in ORDER:
        return _order_in_sql(test.operator, test.operands[0])
    alternatives, params = [], []
    for operand in test.operands:
        alternatives.append("v = %s::jsonb")
        params.append(operand)
        if _instant_of(operand):
            sql, values = _order_in_sql("=", operand)
            alternatives.append(sql)
            params += values
    either = " OR ".join(alternatives)
    if test.operator == "!=":
        return f"v IS NOT NULL AND NOT ({either})", params
    return f"({either})", params


def _order_in_sql(operator: str, operand: str) -> tuple[str, list[Any]]:
    value = json.loads(operand, parse_float=Decimal, parse_int=Decimal)
    if isinstance(value, Decimal):
        kind, guard = "numeric", "jsonb_typeof(v) = 'number'"
        value = str(value)
    else:
        kind, guard = "timestamptz", IS_DATE
        time = instant(value)
        value = time.isoformat() if time else value
    # CASE, because AND does not guarantee that the cast is evaluated after the guard
    return (
        f"(CASE WHEN {guard} THEN {TEXT}::{kind} {operator} %s::{kind} ELSE FALSE END)"
    ), [value]


def _nested(path: Sequence[str], operand: str) -> str:
    """Return JSON with a value at a path; numbers keep their digits."""
    for key in reversed(path):
        operand = f"{{{json.dumps(key)}: {operand}}}"
    return operand


# SQLite ---------------------------------------------------------------------------------


def matches(column: str | None, test_json: str) -> bool:
    """Return whether a test matches the text of a column."""
    test = _test(test_json)
    # skips most rows of other workflows without parsing them
    if column is None or not all(key in column for key in _keys(test.path)):
        return False
    whole = json.loads(column, parse_float=Decimal, parse_int=Decimal)
    return any(_meets(value, test) for value in _at(whole, test.path))


@lru_cache(maxsize=64)
def _test(test_json: str) -> Test:
    path, operator, operands = json.loads(test_json)
    return Test(tuple(path), operator, tuple(operands))


@lru_cache(maxsize=64)
def _keys(path: tuple[str, ...]) -> list[str]:
    return [json.dumps(key) for key in path if not key.isdigit()]


@lru_cache(maxsize=256)
def _operand(operand: str) -> Any:
    return json.loads(operand, parse_float=Decimal, parse_int=Decimal)


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the value at a path of keys and indexes, if there is one."""
    for key in path:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return
    yield value


def _meets(value: Any, test: Test) -> bool:
    if test.operator == "~":
        items = value if isinstance(value, list) else [value]
        needle = _operand(test.operands[0])
        return any(
            needle in item.translate(LOWER) for item in items if isinstance(item, str)
        )
    if test.operator in ORDER:
        return _is_ordered(value, test.operator, _operand(test.operands[0]))
    same = any(_is_same(value, _operand(operand)) for operand in test.operands)
    return same != (test.operator == "!=")


def _is_same(value: Any, wanted: Any) -> bool:
    if type(value) is not type(wanted):  # true is not 1
        return False
    if value == wanted:
        return True
    return isinstance(value, str) and _compared(value, wanted, lambda a, b: a == b)


def _is_ordered(value: Any, operator: str, wanted: Any) -> bool:
    if type(value) is not type(wanted):
        return False
    if isinstance(value, Decimal):
        return ORDER[operator](value, wanted)
    return isinstance(value, str) and _compared(value, wanted, ORDER[operator])


def _compared(value: str, wanted: str, how: Callable[[Any, Any], bool]) -> bool:
    one, other = instant(value), instant(wanted)
    return one is not None and other is not None and how(one, other)


def instant(text: str) -> dt.datetime | None:
    """Return the time of an ISO text, None for other text; a date is its midnight."""
    return _instant(text) if _DATE.fullmatch(text) else None


@lru_cache(maxsize=1024)  # of dates only: the texts of a state can be large
def _instant(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _instant_of(operand: str) -> dt.datetime | None:
    value = _operand(operand)
    return instant(value) if isinstance(value, str) else None


def register_function() -> None:
    """Register the function `matches` on each new SQLite connection."""
    connection_created.connect(_add_function, dispatch_uid=FUNCTION)


def _add_function(connection: Any, **_: Any) -> None:
    if not is_postgresql(connection):
        raw: sqlite3.Connection = connection.connection
        raw.create_function(FUNCTION, 2, matches, deterministic=True)
