"""Marks on pages: rectangles for rendering, and in URLs of the viewer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

if TYPE_CHECKING:
    from workflows.models import Run

PADDING_X, PADDING_Y = 0.008, 0.005  # fractions of the page, around a box
SCALE = 1000  # units of the SVG over a page, in both directions
DIGITS = 4  # of a side in a URL
SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle on a page, in thousandths of it, with the text it contains."""

    x: float
    y: float
    width: float
    height: float
    text: str
    number: int
    address: str = ""  # URL of the page in the viewer, with this mark only


def mark_of(value: object, number: int) -> Mark | None:
    """Read a mark from JSON; None if it is invalid."""
    if not isinstance(value, Mapping):
        return None
    box = sides_of(value)
    if box is None:
        return None
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in box)
    left, right = max(left - PADDING_X, 0.0), min(right + PADDING_X, 1.0)
    top, bottom = max(top - PADDING_Y, 0.0), min(bottom + PADDING_Y, 1.0)
    text = value.get("text") or value.get("label") or ""
    return Mark(
        x=round(left * SCALE, 1),
        y=round(top * SCALE, 1),
        width=round(max(right - left, 0.0) * SCALE, 1),
        height=round(max(bottom - top, 0.0) * SCALE, 1),
        text=str(text),
        number=number,
    )


def sides_of(value: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return the sides of a box, or of an object with `box`; None if they are invalid."""
    inner = value.get("box")
    box = inner if isinstance(inner, Mapping) else value
    sides = [box.get(side) for side in SIDES]
    if any(
        isinstance(side, bool) or not isinstance(side, int | float) for side in sides
    ):
        return None
    return tuple(float(side or 0) for side in sides)


def address_of(
    document: object,
    number: int,
    boxes: Iterable[str] = (),
    *,
    zoom: str = "",
    run: str = "",
) -> str:
    """Return the URL of a page in the viewer, with marks.

    With `run`, the viewer also shows the marks of that run.
    """
    query = [("box", box) for box in boxes]
    query += [(name, text) for name, text in (("run", run), ("zoom", zoom)) if text]
    address = reverse("document-viewer", args=[document, number])
    return f"{address}?{urlencode(query, safe=',')}" if query else address


_PAGE = re.compile(r"\b[Pp]age (\d{1,6})\b")


def link_pages(text: str, run: Run) -> SafeString:
    """Link each “page N” in a text to the run's document, with the marks of the run."""
    document = run.params.get("document") if isinstance(run.params, Mapping) else None
    try:
        known = UUID(str(document))
    except ValueError:
        return format_html("{}", text)
    parts, at = [], 0
    for found in _PAGE.finditer(text):
        address = address_of(known, int(found[1]), run=str(run.pk))
        link = format_html('<a href="{}">{}</a>', address, found[0])
        parts += [format_html("{}", text[at : found.start()]), link]
        at = found.end()
    parts.append(format_html("{}", text[at:]))
    return format_html_join("", "{}", ((part,) for part in parts))


def in_address(box: Iterable[float]) -> str:
    """Format the sides of a box for a URL."""
    return ",".join(f"{round(side, DIGITS):g}" for side in box)


def from_address(box: str, number: int) -> Mark | None:
    """Parse a box of a URL; None if it is invalid."""
    try:
        left, top, right, bottom = (float(part) for part in box.split(","))
    except ValueError:
        return None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        return None
    return mark_of(dict(zip(SIDES, (left, top, right, bottom), strict=True)), number)
