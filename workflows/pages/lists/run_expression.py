"""Expressions that select runs, as people write them in the run list and in the API.

    status = failed and (title ~ invoice or params.amount > 1000)
    workflow in (pay, refund) and launched >= 2026-07-01

Grammar, where “and” binds more strongly than “or”:

    expression = all, { "or", all }
    all        = one, { "and", one }
    one        = "(", expression, ")" | comparison
    comparison = field, operator, value | field, "in", "(", value, { ",", value }, ")"

Values that contain “and”, “or”, a bracket or, within `in`, a comma are quoted. A text
without any operator is searched in id, title, labels and error.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Final

from django.db.models import Q

from workflows.infra.database import is_postgresql
from workflows.models import RESUMABLE
from workflows.pages.lists import json_conditions
from workflows.pages.lists.json_matching import Test
from workflows.pages.lists.run_fields import FIELDS, BadValue, RunField, mentions
from workflows.pages.query_string import MAX_TEXT_LENGTH

JSON_COLUMNS: Final = ("params", "result")
JSON_OPERATORS: Final = ("=", "!=", "in", "~", ">", ">=", "<", "<=")
MAX_COMPARISONS, MAX_DEPTH, MAX_VALUES = 20, 10, 20
PATH: Final = re.compile(
    r'(?:[^\s=!<>~()",.]+|"[^"]+")(?:\.(?:[^\s=!<>~()",.]+|"[^"]+"))*'
)
KEY: Final = re.compile(r'"([^"]+)"|([^.]+)')
OPERATOR: Final = re.compile(r"\s*(==|!=|>=|<=|=|>|<|~|in(?=\s*\())\s*", re.IGNORECASE)
HAS_OPERATOR: Final = re.compile(r"[=<>~]|\sin\s*\(", re.IGNORECASE)
JOINT: Final = re.compile(r"\s*\b(and|or)(?=[\s(]|$)\s*", re.IGNORECASE)
VALUE_END: Final = re.compile(r"\s+(?:and|or)(?=[\s(]|$)|\)|$", re.IGNORECASE)
ITEM_END: Final = re.compile(r"[,)]|$")
SPACE: Final = re.compile(r"\s*")


class BadExpression(ValueError):
    """The expression is invalid at a place."""

    def __init__(self, why: str, place: int) -> None:
        super().__init__(f"At character {place + 1}: {why}")
        self.place = place  # from 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field, an operator and its values."""

    name: str
    operator: str
    values: tuple[str, ...]
    q: Q
    is_data: bool  # reads the data of runs, not only what everyone sees
    is_selective: bool = False  # a column with an index
    is_in_value_index: bool = False  # PostgreSQL's index of params and result

    @property
    def is_of_error(self) -> bool:
        """Whether only runs with an error can match."""
        has_text = all(self.values) and self.operator != "!="
        return self.name == "error" and has_text


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that are joined by “and” or by “or”."""

    parts: tuple[Comparison | Group, ...]
    is_any: bool = False

    @property
    def q(self) -> Q:
        """The condition."""
        return reduce(or_ if self.is_any else and_, (part.q for part in self.parts))


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: what an index selects, and what is tested on each row."""

    tree: Group

    @property
    def comparisons(self) -> list[Comparison]:
        """All comparisons, in the order in which they are written."""
        return list(_leaves(self.tree))

    @property
    def needs_data(self) -> bool:
        """Whether it reads the data of runs."""
        return any(one.is_data for one in self.comparisons)

    @property
    def is_in_value_index(self) -> bool:
        """Whether PostgreSQL's index of values covers a part that has to hold."""
        return any(one.is_in_value_index for one in self._required)

    @property
    def scans_texts(self) -> bool:
        """Whether texts are searched, which takes too long for a list that is live."""
        return any(one.operator == "~" and one.is_data for one in self.comparisons)

    @property
    def workflows(self) -> frozenset[str]:
        """The workflows that it is limited to; empty for no limit."""
        named = [
            frozenset(one.values)
            for one in self._required
            if one.name == "workflow" and one.is_selective
        ]
        return frozenset.intersection(*named) if named else frozenset()

    def by_index(self) -> Q:
        """Return what an index selects."""
        selected = [one.q for one in self._required if _is_selected(one)]
        if self.needs_error:
            selected.append(Q(status__in=RESUMABLE))  # only these have an error
        return reduce(and_, selected, Q())

    @property
    def needs_error(self) -> bool:
        """Return whether only runs with an error can match."""
        return any(one.is_of_error for one in self._required)

    def by_value(self) -> Q:
        """Return what is tested on each row."""
        rest = (
            part.q
            for part in self._joined
            if not (isinstance(part, Comparison) and _is_selected(part))
        )
        return reduce(and_, rest, Q())

    @property
    def _joined(self) -> tuple[Comparison | Group, ...]:
        return (self.tree,) if self.tree.is_any else self.tree.parts

    @property
    def _required(self) -> list[Comparison]:
        return [part for part in self._joined if isinstance(part, Comparison)]


def _is_selected(one: Comparison) -> bool:
    """Return whether rows are selected by an index of a comparison.

    SQLite, which has no statistics, would sort all rows of several values.
    """
    return one.is_selective and (len(one.values) == 1 or is_postgresql())


def _leaves(group: Group) -> Iterator[Comparison]:
    for part in group.parts:
        if isinstance(part, Comparison):
            yield part
        else:
            yield from _leaves(part)


def read(text: str) -> Expression | None:
    """Return an expression, None for an empty text. Raises BadExpression."""
    text = text.replace("\x00", "").rstrip()
    if not text.strip():
        return None
    if len(text) > MAX_TEXT_LENGTH:
        raise BadExpression(f"Maximum {MAX_TEXT_LENGTH} characters.", MAX_TEXT_LENGTH)
    if not HAS_OPERATOR.search(text):
        return _free_text(text)
    return _Reader(text).read()


def read_or_error(text: str) -> tuple[Expression | None, BadExpression | None]:
    """Return the expression of a text, and the error: None if the text is valid."""
    try:
        return read(text), None
    except BadExpression as error:
        return None, error


def _free_text(text: str) -> Expression:
    content = text.strip().strip('"').strip()
    found = Comparison("text", "~", (content,), mentions(content), is_data=True)
    return Expression(Group((found,)))


class _Reader:
    """Recursive-descent parser of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._comparisons = 0

    def read(self) -> Expression:
        """Return the expression. Raises BadExpression."""
        tree = self._any(0)
        if self._place < len(self._text):
            raise BadExpression("Join comparisons with “and” or “or”.", self._place)
        return Expression(tree)

    def _any(self, depth: int) -> Group:
        parts = [self._all(depth)]
        while self._joint("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Group(tuple(parts), is_any=True)

    def _all(self, depth: int) -> Group:
        parts = [self._one(depth)]
        while self._joint("and"):
            parts.append(self._one(depth))
        return Group(tuple(parts))

    def _joint(self, word: str) -> bool:
        found = JOINT.match(self._text, self._place)
        if found is None or found[1].lower() != word:
            return False
        self._place = found.end()
        return True

    def _one(self, depth: int) -> Comparison | Group:
        self._skip_space()
        if not self._text.startswith("(", self._place):
            return self._comparison()
        if depth == MAX_DEPTH:
            raise BadExpression(f"Maximum {MAX_DEPTH} nested brackets.", self._place)
        opened = self._place
        self._place += 1
        group = self._any(depth + 1)
        self._skip_space()
        if not self._text.startswith(")", self._place):
            if self._place < len(self._text):
                raise BadExpression("Join comparisons with “and” or “or”.", self._place)
            raise BadExpression("Missing “)” for this bracket.", opened)
        self._place += 1
        self._skip_space()
        return group

    def _comparison(self) -> Comparison:
        begin = self._place
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise BadExpression(f"Maximum {MAX_COMPARISONS} comparisons.", begin)
        path = self._path()
        operators = _operators(path, begin)
        operator = self._operator(operators)
        places = list(self._values() if operator == "in" else [self._value(operator)])
        self._skip_space()
        if path[0] in JSON_COLUMNS:
            return _of_json(path, operator, places)
        return _of_field(FIELDS[path[0]], operator, places)

    def _path(self) -> list[str]:
        found = PATH.match(self._text, self._place)
        if found is None or found[0].lower() in {"and", "or"}:
            raise BadExpression(
                "Name a field, such as status, title or params.amount.", self._place
            )
        self._place = found.end()
        return [quoted or bare for quoted, bare in KEY.findall(found[0])]

    def _operator(self, accepted: tuple[str, ...]) -> str:
        found = OPERATOR.match(self._text, self._place)
        operator = found[1].lower().replace("==", "=") if found else ""
        if found is None or operator not in accepted:
            self._skip_space()
            raise BadExpression(f"Use one of {' '.join(accepted)} here.", self._place)
        self._place = found.end()
        return operator

    def _value(self, operator: str) -> _Value:
        begin = self._place
        value = self._until(VALUE_END)
        if not value.text and not value.is_quoted:
            raise BadExpression(
                f'Missing value after “{operator}”. Use "" for empty text.', begin
            )
        return value

    def _values(self) -> Iterator[_Value]:
        """Yield the values of `in (…)`."""
        opened = self._place
        for _ in range(MAX_VALUES):
            self._place += 1  # past the bracket or comma
            self._skip_space()
            value = self._until(ITEM_END)
            if not value.text and not value.is_quoted:
                raise BadExpression("Missing value. Use “in (a, b)”.", value.place)
            yield value
            self._skip_space()
            if self._text.startswith(")", self._place):
                self._place += 1
                return
            if not self._text.startswith(",", self._place):
                raise BadExpression("Missing “,” or “)”.", self._place)
        raise BadExpression(f"Maximum {MAX_VALUES} values.", opened)

    def _until(self, end: re.Pattern[str]) -> _Value:
        """Return the value at the place: quoted, or up to `end`."""
        begin = self._place
        if self._text.startswith('"', begin):
            try:
                text, self._place = json.JSONDecoder().raw_decode(self._text, begin)
            except ValueError as error:
                raise BadExpression("Unclosed quotes.", begin) from error
            clean = str(text).encode(errors="replace").decode().replace("\x00", "")
            return _Value(clean, begin, is_quoted=True)
        found = end.search(self._text, begin)
        self._place = found.start() if found else len(self._text)
        return _Value(self._text[begin : self._place].strip(), begin)

    def _skip_space(self) -> None:
        found = SPACE.match(self._text, self._place)
        self._place = found.end() if found else self._place


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    place: int
    is_quoted: bool = False


def _operators(path: list[str], place: int) -> tuple[str, ...]:
    """Return the operators of a field. Raises BadExpression for an unknown one."""
    if path[0] in JSON_COLUMNS:
        keys = path[1:]
        if not keys or not all(map(json_conditions.is_key, keys)):
            raise BadExpression(f"Name a value, such as {path[0]}.amount.", place)
        if len(path) > json_conditions.MAX_PATH_KEYS:
            most = json_conditions.MAX_PATH_KEYS
            raise BadExpression(f"Maximum {most} names in a path.", place)
        return JSON_OPERATORS
    field = FIELDS.get(path[0]) if len(path) == 1 else None
    if field is None:
        raise BadExpression(_unknown(".".join(path)), place)
    return field.operators


def _unknown(name: str) -> str:
    """Return the message for an unknown field, with the most similar one if there is one."""
    if similar := difflib.get_close_matches(name, FIELDS, n=1):
        return f"Unknown field “{name}”. Similar: {similar[0]}."
    return f"Unknown field “{name}”. Fields: {', '.join(FIELDS)}, params.name, result.name."


def _of_field(field: RunField, operator: str, values: list[_Value]) -> Comparison:
    texts = tuple(value.text for value in values)
    try:
        q = field.q(operator, texts)
    except BadValue as error:
        raise BadExpression(str(error), values[0].place) from error
    return Comparison(
        field.name,
        operator,
        texts,
        q,
        is_data=field.is_data,
        is_selective=field.is_indexed(operator, texts),
    )


def _of_json(path: list[str], operator: str, values: list[_Value]) -> Comparison:
    """Return a comparison with a value inside params or result."""
    sign = "=" if operator == "in" else operator
    operands: list[str] = []
    for value in values:
        try:
            operands += json_conditions.operands_of(sign, value.text, value.is_quoted)
        except ValueError as error:
            raise BadExpression(str(error), value.place) from error
    test = Test(tuple(path[1:]), sign, tuple(operands))
    condition = json_conditions.Condition(path[0], test)
    return Comparison(
        ".".join(path),
        operator,
        tuple(value.text for value in values),
        condition.q(),
        is_data=True,
        is_in_value_index=condition.is_indexed,
    )
