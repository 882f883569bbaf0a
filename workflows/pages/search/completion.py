"""Completions of an expression at the place of the caret: fields, operators, values.

The place is classified by the text before it, from the last “and”, “or” or bracket on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflows.pages.catalog import entries
from workflows.pages.lists.columns import known_fields
from workflows.pages.lists.live_lists import known_labels
from workflows.pages.lists.run_expression import JSON_COLUMNS, JSON_OPERATORS
from workflows.pages.lists.run_fields import FIELDS
from workflows.pages.views.run_list import launchers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.contrib.auth.models import User

MAX_ITEMS: Final = 12
START: Final = re.compile(
    r"(?:.*(?:\s(?:and|or)[\s(]|(?<!in)(?<!in )\()|^)\s*", re.IGNORECASE | re.DOTALL
)
FIELD: Final = re.compile(r'[^\s=!<>~()",]*')
OPERATOR: Final = re.compile(
    r"(?P<field>[^\s=!<>~()\",]+)\s+(?P<part>[=!<>~]*|i|in)", re.IGNORECASE
)
VALUE: Final = re.compile(
    r"(?P<field>[^\s=!<>~()\",]+)\s*(?:in\s*\((?:[^()]*,)?|!=|>=|<=|=|>|<|~)\s*(?P<part>[^,()]*)",
    re.IGNORECASE | re.DOTALL,
)  # fmt: skip
SCOPE: Final = re.compile(r'\bworkflow\s*=\s*"?([\w-]+)')
JOINTS: Final = ("and", "or")


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that replaces what stands between `begin` and the caret."""

    text: str
    help: str
    begin: int


def completions(text: str, at: int, person: User) -> list[Completion]:
    """Return what could stand at a place of an expression."""
    before = text[: max(at, 0)]
    found = START.match(before)
    begin = found.end() if found else 0
    segment = before[begin:]
    return list(_completions(segment, begin, text, person))[:MAX_ITEMS]


def _completions(
    segment: str, begin: int, text: str, person: User
) -> Iterator[Completion]:
    if FIELD.fullmatch(segment):
        yield from _starting(segment, begin, _fields(text, person))
    elif value := VALUE.fullmatch(segment):
        part = value["part"]
        place = begin + value.start("part")
        values = [(_quoted(one), "") for one in _values(value["field"], person)]
        if part.rstrip() in {one for one, _ in values} and part.endswith(" "):
            place += len(part)
            yield from _starting("", place, [(f"{word} ", "") for word in JOINTS])
        else:
            yield from _starting(part.strip().strip('"'), place, values, anywhere=True)
    elif operator := OPERATOR.fullmatch(segment):
        place = begin + operator.start("part")
        accepted = [(f"{one} ", "") for one in _operators(operator["field"])]
        yield from _starting(operator["part"], place, accepted)


def _starting(
    part: str, begin: int, known: Iterable[tuple[str, str]], *, anywhere: bool = False
) -> Iterator[Completion]:
    wanted = part.lower()
    for text, help_text in known:
        name = text.lower().strip('"')
        if wanted in name if anywhere else name.startswith(wanted):
            yield Completion(text, help_text, begin)


def _fields(text: str, person: User) -> Iterator[tuple[str, str]]:
    """Yield fields with their help; values of the workflow that the expression names."""
    for field in FIELDS.values():
        yield f"{field.name} ", field.help
    scope = SCOPE.search(text)
    names = [scope[1]] if scope else [one.name for one in entries(person)]
    known = {field: None for name in names for field in known_fields(name, person)}
    for name in known:
        yield f"{name} ", "Parameter"
    if not known:
        yield "params.", "Value of the parameters"
    yield "result.", "Value of the result"


def _operators(name: str) -> tuple[str, ...]:
    if name.partition(".")[0] in JSON_COLUMNS:
        return JSON_OPERATORS
    return FIELDS[name].operators if name in FIELDS else ()


def _values(name: str, person: User) -> list[str]:
    """Return the known values of a field, limited to what the person may see."""
    match name:
        case "workflow":
            return [one.name for one in entries(person)]
        case "label":
            return known_labels(person)
        case "launched_by":
            return [one.get_username() for one in launchers(person)]
    return list(FIELDS[name].values) if name in FIELDS else []


def _quoted(value: str) -> str:
    """Return a value as it is written, in quotes if it needs them."""
    return value if re.fullmatch(r"[\w.@+-]+", value) else f'"{value}"'
