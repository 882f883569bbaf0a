"""Places on pages: rectangles as they are drawn, and as they stand in an address."""

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

ROOM_X, ROOM_Y = 0.008, 0.005  # between what is marked and the line around it
SCALE = 1000  # units of the drawing laid over a page, each way
DIGITS = 4  # of a side in an address
SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle on a page, in thousandths of it, and what stands there."""

    x: float
    y: float
    width: float
    height: float
    text: str
    number: int
    address: str = ""  # of its page in the viewer, with this place alone marked


def mark_of(given: object, number: int) -> Mark | None:
    """Return a rectangle from JSON; None: it makes no sense."""
    if not isinstance(given, Mapping):
        return None
    box = sides_of(given)
    if box is None:
        return None
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in box)
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


def sides_of(given: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return the sides of a box, or of what holds one; None: it has none."""
    inner = given.get("box")
    box = inner if isinstance(inner, Mapping) else given
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
    """Return the address of a page in the viewer, with places on it marked.

    Those of a `run` are what it marked there.
    """
    query = [("box", box) for box in boxes]
    query += [(name, told) for name, told in (("run", run), ("zoom", zoom)) if told]
    address = reverse("document-viewer", args=[document, number])
    return f"{address}?{urlencode(query, safe=',')}" if query else address


_PAGE = re.compile(r"\b[Pp]age (\d{1,6})\b")


def with_pages_linked(text: str, run: Run) -> SafeString:
    """Return a text whose pages lead to the run's document, with what it marked there."""
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
    """Return the sides of a box as they stand in an address."""
    return ",".join(f"{round(side, DIGITS):g}" for side in box)


def from_address(box: str, number: int) -> Mark | None:
    """Return the rectangle of a box in an address; None: it makes no sense."""
    try:
        left, top, right, bottom = (float(part) for part in box.split(","))
    except ValueError:
        return None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        return None
    return mark_of(dict(zip(SIDES, (left, top, right, bottom), strict=True)), number)
