"""Pages of text on their way from a child, as JSON that is checked when it arrives."""

from __future__ import annotations

from typing import Any

from workflows.documents.reader.frames import Head
from workflows.runtime.records import Box, Line, Page, Word


def packed_page(page: Page) -> Head:
    """Return a page as JSON."""
    return {
        "page": page.number,
        "size": [page.width, page.height],
        "blank": page.is_blank,
        "picture": page.is_picture,
        "look": page.look,
        "turned": page.turned,
        "unread": [_sides(box) for box in page.unread],
        "lines": [
            {
                "beside": [line.before, line.after],
                "words": [[w.text, w.sure, *_sides(w.box)] for w in line.words],
            }
            for line in page.lines
        ],
    }


def unpacked_page(told: Head) -> Page:
    """Return the page. Raises ValueError, KeyError or TypeError: it is none."""
    width, height = (float(side) for side in told["size"])
    return Page(
        number=int(told["page"]),
        width=width,
        height=height,
        lines=tuple(_line(line) for line in told["lines"]),
        is_blank=bool(told["blank"]),
        is_picture=bool(told["picture"]),
        look=str(told["look"]),
        turned=int(told["turned"]),
        unread=tuple(_box(sides) for sides in told["unread"]),
    )


def _sides(box: Box) -> list[float]:
    return [round(side, 4) for side in (box.left, box.top, box.right, box.bottom)]


def _line(told: dict[str, Any]) -> Line:
    before, after = told["beside"]
    words = tuple(_word(word) for word in told["words"])
    return Line(words, float(before), float(after))


def _word(told: list[Any]) -> Word:
    text, sure, *sides = told
    return Word(str(text), _box(sides), float(sure))


def _box(sides: list[Any]) -> Box:
    left, top, right, bottom = (float(side) for side in sides)
    return Box(left, top, right, bottom)
