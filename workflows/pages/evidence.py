"""What a person is shown beside a question: pages with places marked, and values.

A workflow's `show` gives JSON. With a `document`, its `pages` are drawn, each a number or
an object with `page` and `marks`: rectangles in fractions of the page, with what they say.
Everything else is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from workflows.models import Document

MOST_PAGES = 20  # drawn beside one question; the document's own page has them all
ROOM_X, ROOM_Y = 0.008, 0.005  # between what is marked and the line around it
SCALE = 1000  # units of the drawing laid over a page, each way


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle on a page, in thousandths of it, and what stands there."""

    x: float
    y: float
    width: float
    height: float
    text: str
    number: int


@dataclass(frozen=True, slots=True)
class EvidencePage:
    """One page to look at."""

    number: int
    marks: tuple[Mark, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a question shows."""

    document: Document | None
    pages: tuple[EvidencePage, ...]
    rest: Mapping[str, Any]


def read(shown: object) -> Evidence:
    """Return what an approval shows; JSON of another shape is shown as values."""
    values = dict(shown) if isinstance(shown, Mapping) else {}
    document = _document(values.get("document"))
    if document is None:
        return Evidence(None, (), values)
    listed = values.get("pages")
    pages = [_page(one) for one in listed] if isinstance(listed, list) else []
    found = tuple(page for page in pages if page is not None)[:MOST_PAGES]
    rest = {k: v for k, v in values.items() if k not in {"document", "pages"}}
    return Evidence(document, found, rest)


def _document(given: object) -> Document | None:
    try:
        return Document.objects.filter(pk=UUID(str(given))).first()
    except ValueError:
        return None


def _page(given: object) -> EvidencePage | None:
    if isinstance(given, int) and given > 0:
        return EvidencePage(given, ())
    if not isinstance(given, Mapping):
        return None
    number = given.get("page", given.get("number"))
    if not isinstance(number, int) or number < 1:
        return None
    listed = given.get("marks", given.get("boxes"))
    marks = [_mark(one, n) for n, one in enumerate(listed or (), 1)]
    text = given.get("text") or given.get("note") or ""
    return EvidencePage(number, tuple(mark for mark in marks if mark), str(text))


def _mark(given: object, number: int) -> Mark | None:
    """Return a rectangle; one that makes no sense is left out."""
    if not isinstance(given, Mapping):
        return None
    inner = given.get("box")
    box = inner if isinstance(inner, Mapping) else given
    sides = [box.get(side) for side in ("left", "top", "right", "bottom")]
    if not all(isinstance(side, int | float) for side in sides):
        return None
    left, top, right, bottom = (min(max(float(s or 0), 0.0), 1.0) for s in sides)
    left, right = max(left - ROOM_X, 0.0), min(right + ROOM_X, 1.0)
    top, bottom = max(top - ROOM_Y, 0.0), min(bottom + ROOM_Y, 1.0)
    text = given.get("text") or given.get("label") or ""
    return Mark(
        x=round(left * SCALE, 1),
        y=round(top * SCALE, 1),
        width=round(max(right - left, 0.0) * SCALE, 1),
        height=round(max(bottom - top, 0.0) * SCALE, 1),
        text=str(text),
        number=number,
    )
