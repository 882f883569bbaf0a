"""Places on pages: rectangles as they are drawn, and as they stand in an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

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
    document: object, number: int, boxes: Iterable[str] = (), zoom: str = ""
) -> str:
    """Return the address of a page in the viewer, with places on it marked."""
    query = [("box", box) for box in boxes]
    if zoom:
        query.append(("zoom", zoom))
    address = reverse("document-viewer", args=[document, number])
    return f"{address}?{urlencode(query, safe=',')}" if query else address


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
