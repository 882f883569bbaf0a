"""Page range expressions: "2-5,8", "-3", "5-", "-".

Parts are separated by commas: a number, or a range whose missing end is the first or last
page. Spaces and empty parts are ignored; pages are sorted and unique.
"""

from __future__ import annotations

import re

from workflows.runtime.errors import Invalid
from workflows.runtime.pdf_errors import PageOutOfRange

MAX_EXPRESSION_LENGTH = 2_000  # characters
_NUMBER = re.compile(r"\+?[0-9]{1,9}")


class InvalidPageRange(Invalid):
    """The page range is invalid."""

    code = "invalid_page_range"


def pages_of(expression: str, count: int) -> tuple[int, ...]:
    """Return the pages of an expression for a document of `count` pages.

    Raises InvalidPageRange or PageOutOfRange, with the part that is wrong.
    """
    if len(expression) > MAX_EXPRESSION_LENGTH:
        raise InvalidPageRange(
            f"A page range has at most {MAX_EXPRESSION_LENGTH:,} characters."
        )
    parts = [part.strip() for part in expression.split(",")]
    spans = [_span(part, count) for part in parts if part]
    if not spans:
        raise InvalidPageRange("No page is named: write 1, 2-5, 8 or - for all.")
    return tuple(
        sorted({page for first, last in spans for page in range(first, last + 1)})
    )


def chosen_pages(expression: str, count: int) -> tuple[int, ...]:
    """Return the pages of an expression; an empty one selects all pages."""
    return pages_of(expression if expression.strip() else "-", count)


def _span(part: str, count: int) -> tuple[int, int]:
    before, dash, after = (piece.strip() for piece in part.partition("-"))
    first = _number(before, part) if before or not dash else 1
    last = (_number(after, part) if after else count) if dash else first
    if first > last:
        raise InvalidPageRange(_backwards(part, count, open_end=not after))
    for page in (first, last):
        if not 1 <= page <= count:
            raise PageOutOfRange(
                f"There is no page {page}: the document has {count:,}."
            )
    return first, last


def _number(text: str, part: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidPageRange(
            f"“{part[:40]}” names no pages: write 1, 2-5, 8 or - for all."
        )
    return int(text)


def _backwards(part: str, count: int, *, open_end: bool) -> str:
    if open_end:
        return f"“{part}” begins after the last page: the document has {count:,}."
    return f"“{part}” runs backwards: the smaller page comes first."
