"""Values from query strings and posted forms: texts, whole numbers and ids.

Anything may be sent: what is malformed reads as "not given" and never raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT_LENGTH = 500  # characters of one value
MAX_QUERY_LENGTH, MAX_QUERY_FIELDS = 8_000, 100  # characters and fields of a query
MAX_DIGITS = 18  # so that every number fits a 64-bit column


def clean_text(text: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """Return a text stripped and cut; PostgreSQL's text cannot hold NUL."""
    return text.replace("\x00", "").strip()[:max_length]


def text_in(query: Mapping[str, str], name: str, max_length: int | None = None) -> str:
    """Return a text of a query, "" if there is none.

    Without `max_length`, one character more than MAX_TEXT_LENGTH is kept, so that the
    reader of a condition can reject it: a truncated condition would mean something else.
    """
    limit = MAX_TEXT_LENGTH + 1 if max_length is None else max_length
    return clean_text(query.get(name, ""), limit)


def int_in(query: Mapping[str, str], name: str) -> int | None:
    """Return a whole number of a query, 0 or more; None if there is none."""
    text = query.get(name, "")[:MAX_DIGITS]
    return int(text) if text.isascii() and text.isdigit() else None


def uuid_in(text: str) -> UUID | None:
    """Return a text as a UUID, None if it is not one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def parse_query(text: str | bytes) -> dict[str, str]:
    """Return the last value of each field of a query string; {} for a malformed one."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    try:
        fields = parse_qsl(text[:MAX_QUERY_LENGTH], max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return {}
    return dict(fields)


def is_row_id(text: str) -> bool:
    """Return whether a text is the number of a row."""
    return text.isascii() and text.isdecimal() and int(text) < 2**63
