"""Encode pages as JSON for the pipe, and validate them when decoding."""

from __future__ import annotations

from typing import Any

from workflows.documents.reader.pipe_protocol import Head
from workflows.runtime.records import Box, Line, Page, Word


def encode_page(page: Page) -> Head:
    """Return a page as JSON."""
    return {
        "page": page.number,
        "size": [page.width, page.height],
        "blank": page.is_blank,
        "picture": page.is_picture,
        "variant": page.variant,
        "turned": page.turned,
        "unread": [_sides(box) for box in page.unread],
        "lines": [
            {
                "unread": [line.unread_before, line.unread_after],
                "words": [[w.text, w.confidence, *_sides(w.box)] for w in line.words],
            }
            for line in page.lines
        ],
    }


def decode_page(data: Head) -> Page:
    """Return the page. Raises ValueError, KeyError or TypeError if invalid."""
    width, height = (float(side) for side in data["size"])
    return Page(
        number=int(data["page"]),
        width=width,
        height=height,
        lines=tuple(_line(line) for line in data["lines"]),
        is_blank=bool(data["blank"]),
        is_picture=bool(data["picture"]),
        variant=str(data["variant"]),
        turned=int(data["turned"]),
        unread=tuple(_box(sides) for sides in data["unread"]),
    )


def _sides(box: Box) -> list[float]:
    return [round(side, 4) for side in (box.left, box.top, box.right, box.bottom)]


def _line(data: dict[str, Any]) -> Line:
    before, after = data["unread"]
    words = tuple(_word(word) for word in data["words"])
    return Line(words, float(before), float(after))


def _word(data: list[Any]) -> Word:
    text, confidence, *sides = data
    return Word(str(text), _box(sides), float(confidence))


def _box(sides: list[Any]) -> Box:
    left, top, right, bottom = (float(side) for side in sides)
    return Box(left, top, right, bottom)
