"""Fields of runs that an expression compares: their operators, values and conditions.

Each comparison is a Q object over runs. What an index serves is marked, so that a list
selects by it; everything else is tested on a bounded number of rows (`pagination.py`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final
from uuid import UUID

from django.db.models import (
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    TextField,
)
from django.db.models.functions import Cast
from django.db.models.lookups import Contains

from workflows.models import Document, RunLabel, Status, WaitKind
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists.filters import id_of_person
from workflows.pages.lists.json_matching import instant
from workflows.pages.query_string import uuid_in

EQUAL: Final = ("=", "!=", "in")
TEXT: Final = (*EQUAL, "~")
NUMBERS: Final = (*EQUAL, ">", ">=", "<", "<=")
TIMES: Final = ("=", ">", ">=", "<", "<=")
LOOKUPS: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
MAX_NUMBER: Final = 2**31 - 1  # of an integer column
MAX_DOCUMENTS: Final = 20  # that a name selects
MIN_ID_DIGITS, ID_DIGITS, SUFFIX_DIGITS = 4, 32, 12  # hex digits of an id
MILLISECOND: Final = dt.timedelta(milliseconds=1)
UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}  # seconds
DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?([smhd])?")
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


class BadValue(ValueError):
    """The value does not fit the field; the message says what does."""


@dataclass(frozen=True, slots=True)
class RunField:
    """A field of runs that can be compared."""

    name: str
    help: str
    operators: tuple[str, ...]
    condition: Callable[[str, str], Q]  # of one operator and value; raises BadValue
    is_data: bool = False  # part of the data of a run, like its params
    indexed: frozenset[str] = frozenset()  # operators that an index serves
    values: tuple[str, ...] = ()  # all that it can have

    def is_indexed(self, operator: str, values: tuple[str, ...]) -> bool:
        """Return whether an index serves a comparison."""
        if self.name != "id":
            return operator in self.indexed
        is_long = all(len(digits_of(value)) > SUFFIX_DIGITS for value in values)
        return is_long and operator in INDEXED

    def q(self, operator: str, values: tuple[str, ...]) -> Q:
        """Return the condition that the field has one of these values. Raises BadValue."""
        if operator != "in":
            return self.condition(operator, values[0])
        return reduce(or_, (self.condition("=", value) for value in values))


def _compared(q: Q, operator: str) -> Q:
    return ~q if operator == "!=" else q


def _choice(column: str, values: tuple[str, ...]) -> Callable[[str, str], Q]:
    def condition(operator: str, value: str) -> Q:
        if value.lower() not in values:
            raise BadValue(f"“{value}” is none of: {', '.join(values)}.")
        return _compared(Q(**{column: value.lower()}), operator)

    return condition


def _text(column: str) -> Callable[[str, str], Q]:
    def condition(operator: str, value: str) -> Q:
        if operator == "~":
            return Q(**{f"{column}__icontains": value})
        return _compared(Q(**{column: value}), operator)

    return condition


def _number(column: str) -> Callable[[str, str], Q]:
    def condition(operator: str, value: str) -> Q:
        digits = value.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= 10  # noqa: PLR2004 - digits of MAX_NUMBER
        if not is_number or int(digits) > MAX_NUMBER:
            raise BadValue(f"“{value}” is not a whole number.")
        if operator in LOOKUPS:
            return Q(**{f"{column}__{LOOKUPS[operator]}": int(value)})
        return _compared(Q(**{column: int(value)}), operator)

    return condition


def _moment(value: str) -> dt.datetime:
    """Return a time; a date is its midnight in UTC. Raises BadValue."""
    moment = instant(value)
    year = moment.year if moment else 0
    if moment is None or not 1971 <= year <= 9000:  # noqa: PLR2004 - as `period.FIRST`
        raise BadValue(f"“{value}” is not a date such as 2026-07-01 or a time in UTC.")
    return moment


def _day_or_less(value: str) -> tuple[dt.datetime, dt.datetime]:
    """Return begin and end of a day. Raises BadValue for a time."""
    if not DAY.fullmatch(value):
        raise BadValue("Compare a time with > or <, a date also with =.")
    begin = _moment(value)
    return begin, begin + dt.timedelta(days=1)


def _time(column: str) -> Callable[[str, str], Q]:
    def condition(operator: str, value: str) -> Q:
        if operator == "=":
            begin, end = _day_or_less(value)
            return Q(**{f"{column}__gte": begin, f"{column}__lt": end})
        return Q(**{f"{column}__{LOOKUPS[operator]}": _moment(value)})

    return condition


def _launched(operator: str, value: str) -> Q:
    """Compare by id, which begins with the time in milliseconds and has an index."""
    if operator == "=":
        begin, end = _day_or_less(value)
        return Q(pk__gte=run_id_at(begin), pk__lt=run_id_at(end))
    moment = _moment(value)
    if operator in {">", "<="}:
        moment += MILLISECOND
    edge = run_id_at(moment)
    return Q(pk__gte=edge) if operator in {">", ">="} else Q(pk__lt=edge)


def _duration(operator: str, value: str) -> Q:
    match = DURATION.fullmatch(value)
    if match is None:
        raise BadValue(f"“{value}” is not a duration such as 90s, 5m, 2h or 1d.")
    seconds = float(match[1]) * UNITS[match[2] or "s"]
    if seconds > MAX_NUMBER:
        raise BadValue(f"“{value}” is longer than any run.")
    spent: Any = ExpressionWrapper(
        F("completed_at") - F("started_at"), output_field=DurationField()
    )
    limit = dt.timedelta(seconds=seconds)
    return Q(_lookup(DurationField, LOOKUPS[operator])(spent, limit))


def _lookup(field: type[Any], name: str) -> Any:
    return field().get_lookup(name)


def _person(operator: str, value: str) -> Q:
    if operator == "~":
        return Q(launched_by__username__icontains=value)
    return _compared(Q(launched_by_id=id_of_person(value)), operator)


def _label(operator: str, value: str) -> Q:
    named = Q(name__icontains=value) if operator == "~" else Q(name=value.lower())
    return _compared(
        Q(Exists(RunLabel.objects.filter(named, run=OuterRef("pk")))), operator
    )


def _error(operator: str, value: str) -> Q:
    if operator == "~":
        return Q(error_message__icontains=value)
    return _compared(Q(error_code=value) | Q(error_message=value), operator)


def _id(operator: str, value: str) -> Q:
    found = by_id(value)
    if found is None:
        raise BadValue(
            f"“{value}” is not an id, nor its first digits or last {SUFFIX_DIGITS}."
        )
    return _compared(found, operator)


def digits_of(text: str) -> str:
    """Return the hex digits of an id as written."""
    return text.replace("-", "").lower()


def by_id(text: str) -> Q | None:
    """Return the condition for a whole id, its first digits or its last; None for others."""
    digits = digits_of(text)
    is_hex = digits.isascii() and all(one in "0123456789abcdef" for one in digits)
    if not is_hex or not MIN_ID_DIGITS <= len(digits) <= ID_DIGITS:
        return None
    if len(digits) == ID_DIGITS:
        return Q(pk=UUID(digits))
    first, last = (UUID(digits.ljust(ID_DIGITS, end)) for end in "0f")
    found = Q(pk__gte=first, pk__lte=last)
    if len(digits) <= SUFFIX_DIGITS:
        found |= Q(pk__iendswith=digits)
    return found


def _document(operator: str, value: str) -> Q:
    """Select runs whose params name a document, by its id or name.

    Runs are limited to those whose data the viewer may read, whose documents they may see.
    """
    named = Q(name__icontains=value) if operator == "~" else Q(name=value)
    if (document_id := uuid_in(value)) is not None:
        named |= Q(pk=document_id)
    ids = Document.objects.filter(named).order_by("-pk").values_list("pk", flat=True)
    params: Any = Cast("params", TextField())
    found = Q(pk__in=[])
    for one in ids[:MAX_DOCUMENTS]:
        found |= Q(Contains(params, str(one)))
    return found


INDEXED: Final = frozenset({"=", "in"})
STATUSES: Final = tuple(Status.values)
FIELDS: Final = {
    field.name: field
    for field in (
        RunField(
            "status", "Status", EQUAL, _choice("status", STATUSES),
            indexed=INDEXED, values=STATUSES,
        ),
        RunField(
            "workflow", "Name of the workflow", TEXT, _text("workflow_name"),
            indexed=INDEXED,
        ),
        RunField("title", "Title", TEXT, _text("title"), is_data=True),
        RunField("label", "Label", TEXT, _label, is_data=True),
        RunField("error", "Error message, or its code", TEXT, _error, is_data=True),
        RunField(
            "launched_by", "User name", TEXT, _person, indexed=INDEXED
        ),
        RunField(
            "launched", "Time of launch", TIMES, _launched, indexed=frozenset(TIMES)
        ),
        RunField("started", "Time of the first start", TIMES, _time("started_at")),
        RunField("ended", "Time of the end", TIMES, _time("completed_at")),
        RunField(
            "duration", "From start to end, such as 5m", TIMES[1:], _duration
        ),
        RunField("document", "Name or id of a document", ("=", "in", "~"), _document,
                 is_data=True),
        RunField("id", "Id, or its first or last digits", EQUAL, _id),
        RunField("waiting_for", "What a run waits for", EQUAL,
                 _choice("waiting_for", tuple(WaitKind.values)),
                 values=tuple(WaitKind.values)),
        RunField("steps", "Completed steps", NUMBERS, _number("sequence")),
        RunField("attempts", "Attempts", NUMBERS, _number("attempt")),
        RunField("priority", "Priority", NUMBERS, _number("priority")),
        RunField("worker", "Name of the worker", TEXT, _text("worker")),
        RunField("profile", "Name of the profile", TEXT, _text("profile_name")),
    )
}  # fmt: skip


def mentions(text: str) -> Q:
    """Return the condition that a run mentions a text in id, title, label or error."""
    found = Q(title__icontains=text) | Q(error_message__icontains=text)
    found |= _label("~", text)
    by_digits = by_id(text)
    return found if by_digits is None else found | by_digits
