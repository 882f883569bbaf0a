"""From the payload and the headers of a delivery to params, and filters.

A path names a value of the payload: `pull_request.head.sha`, `items[0].id`, `["a.b"]` for
a key with a dot, a JSON Pointer such as `/items/0/id`, or `$` for the whole payload.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import parse_qs

from workflows.errors import InvalidPayload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BODY, HEADER, CONSTANT = "body", "header", "constant"
SOURCES: Final = (BODY, HEADER, CONSTANT)
FORM: Final = "application/x-www-form-urlencoded"
FORM_FIELD: Final = "payload"  # as GitHub sends forms
MAX_PATH_LENGTH: Final = 200  # characters
MAX_TEXT_LENGTH: Final = 200  # characters of a value that is compared
PART: Final = re.compile(
    r"""(?:^|\.)(?P<name>[^.\[\]"]+)|\[(?P<index>\d{1,6})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]"""
)


class _Missing(Enum):
    """The value at a path that does not exist in the payload."""

    MISSING = "missing"


MISSING: Final = _Missing.MISSING


def parse_path(text: str) -> tuple[str | int, ...]:
    """Return the steps of a path: keys and indexes. Raises ValueError with a sentence."""
    text = text.strip()
    if len(text) > MAX_PATH_LENGTH:
        raise ValueError(f"Enter up to {MAX_PATH_LENGTH} characters.")
    if text in {"", "$"}:
        return ()
    if text.startswith("/"):
        parts = text[1:].split("/")
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)
    text = text.removeprefix("$.")
    text = text[1:] if text.startswith("$[") else text
    steps: list[str | int] = []
    end = 0
    while end < len(text):
        found = PART.match(text, end)
        if found is None or text.startswith("."):
            hint = "Enter a path such as customer.name, items[0].id or /items/0/id."
            raise ValueError(hint)
        steps.append(_step(found))
        end = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> str | int:
    if found["index"] is not None:
        return int(found["index"])
    if found["quoted"] is not None:
        try:
            return str(json.loads(found["quoted"]))
        except ValueError as error:
            raise ValueError("The quoted key is not valid JSON text.") from error
    return str(found["name"])


def find(payload: Any, path: str) -> Any:
    """Return the value at a path, MISSING if there is none. Raises ValueError."""
    value = payload
    for step in parse_path(path):
        value = _child(value, step)
        if value is MISSING:
            return MISSING
    return value


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(step), MISSING)
    if isinstance(value, list) and str(step).isascii() and str(step).isdigit():
        index = int(step)
        return value[index] if index < len(value) else MISSING
    return MISSING


# Payload --------------------------------------------------------------------------------


def payload_of(body: str, content_type: str) -> Any:
    """Return the payload of a body: JSON, or JSON in a form. Raises InvalidPayload."""
    if content_type.partition(";")[0].strip().lower() == FORM:
        try:
            fields = parse_qs(body, max_num_fields=100)
        except ValueError as error:
            raise InvalidPayload("The form in the body has too many fields.") from error
        if FORM_FIELD not in fields:
            raise InvalidPayload(f"The form in the body has no field “{FORM_FIELD}”.")
        body = fields[FORM_FIELD][0]
    try:
        return json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidPayload("The body is not valid JSON.") from error


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads as JSON. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


# Params ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mapped:
    """Params of a delivery, and the params whose source it does not have."""

    params: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def params_of(
    mapping: Sequence[Mapping[str, Any]], payload: Any, headers: Mapping[str, str]
) -> Mapped:
    """Return the params of a delivery; a param without its source keeps its default."""
    mapped = Mapped()
    for row in mapping:
        value = _value(row, payload, headers)
        if value is MISSING:
            mapped.missing.append(row["param"])
        else:
            _put(mapped.params, parse_path(row["param"]), value)
    return mapped


def _value(row: Mapping[str, Any], payload: Any, headers: Mapping[str, str]) -> Any:
    if row["source"] == CONSTANT:
        return row["value"]
    if row["source"] == HEADER:
        return headers.get(row["value"].lower(), MISSING)
    return find(payload, row["value"])


def _put(values: dict[str, Any], path: Sequence[str | int], value: Any) -> None:
    """Set a value at a path of names, creating nested objects."""
    *parents, last = map(str, path)
    for name in parents:
        inner = values.get(name)
        if not isinstance(inner, dict):
            inner = values[name] = {}
        values = inner
    values[last] = value


# Filters --------------------------------------------------------------------------------


def why_ignored(
    filters: Sequence[Mapping[str, Any]], payload: Any, headers: Mapping[str, str]
) -> str:
    """Return why the filters exclude a delivery, "" if all of them hold."""
    for row in filters:
        value = _value(row, payload, headers)
        accepted = row["values"]
        if as_text(value) not in accepted:
            of = f"Header {row['value']}" if row["source"] == HEADER else row["value"]
            found = "missing" if value is MISSING else f"“{as_text(value)}”"
            return f"{of} is {found}; accepted: {', '.join(accepted)}."
    return ""


def as_text(value: Any) -> str:
    """Return a value as filters compare it: text unchanged, all else as JSON."""
    if value is MISSING:
        return "\x00"  # equal to no text that people can enter
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:MAX_TEXT_LENGTH]
