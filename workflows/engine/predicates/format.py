"""Values in the text of a reason: short, but precise enough to show a difference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

from workflows.engine.frozen import Json

MAX_CHARACTERS = 60  # of one value in a reason
MAX_DECIMALS = 6  # of a number, unless it would then equal the bound
MAX_SHOWN_ITEMS = 3  # items of a container whose content is shown


def format_value(value: Json) -> str:
    """Return a JSON value as text, shortened."""
    if isinstance(value, str):
        return f"“{_cut(value, MAX_CHARACTERS - 2)}”"
    if isinstance(value, Mapping):
        return _format_container(value, "{…}")
    if isinstance(value, list | tuple):
        return _format_container(value, "[…]")
    return _cut(json.dumps(value, ensure_ascii=False, default=str), MAX_CHARACTERS)


def format_pair(value: object, bound: object) -> tuple[str, str]:
    """Return two values as text; numbers with enough decimals to differ."""
    if not (_is_number(value) and _is_number(bound)):
        return _format_plain(value), _format_plain(bound)
    exact = [str(value), str(bound)]
    decimals = [
        len(text.partition(".")[2]) for text in exact if "e" not in text.lower()
    ]
    if len(decimals) < len(exact) or not any(decimals):
        return exact[0], exact[1]
    wanted = min(max(2, *decimals), MAX_DECIMALS)
    rounded = [_with_decimals(value, wanted), _with_decimals(bound, wanted)]
    if rounded[0] == rounded[1] and value != bound:
        return exact[0], exact[1]
    return rounded[0], rounded[1]


def _format_plain(value: object) -> str:
    if isinstance(value, str | int | float | list | tuple | Mapping) or value is None:
        return format_value(value)
    return _cut(str(value), MAX_CHARACTERS)


def _with_decimals(value: object, decimals: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{decimals}f}"


def _format_container(value: Json, placeholder: str) -> str:
    parts = value.values() if isinstance(value, Mapping) else value
    if len(value) > MAX_SHOWN_ITEMS or any(
        isinstance(part, dict | list) for part in parts
    ):
        return placeholder
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_CHARACTERS else placeholder


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
