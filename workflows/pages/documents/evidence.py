"""The evidence of an approval or result: pages with marks, and values.

The `show` of a workflow returns JSON. With a `document`, its `pages` are rendered, each a
number or an object with `page` and `marks`: rectangles in fractions of the page, with their
text. All other values are shown as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from workflows.models import Document
from workflows.pages.render.page_marks import (
    Mark,
    address_of,
    in_address,
    mark_of,
    sides_of,
)

MAX_PAGES = 20  # rendered with one approval; the document page has all


@dataclass(frozen=True, slots=True)
class EvidencePage:
    """A page with its marks."""

    number: int
    marks: tuple[Mark, ...]
    text: str = ""
    address: str = ""  # URL of the page in the viewer, with its marks


@dataclass(frozen=True, slots=True)
class Evidence:
    """The document pages and the other values."""

    document: Document | None
    pages: tuple[EvidencePage, ...]
    rest: Mapping[str, Any]


def read(shown: object) -> Evidence:
    """Read the evidence of an approval; invalid JSON is shown as values."""
    values = dict(shown) if isinstance(shown, Mapping) else {}
    document = _document(values.get("document"))
    if document is None:
        return Evidence(None, (), values)
    listed = values.get("pages")
    pages = [_page(one, document) for one in listed] if isinstance(listed, list) else []
    found = tuple(page for page in pages if page is not None)[:MAX_PAGES]
    rest = {k: v for k, v in values.items() if k not in {"document", "pages"}}
    return Evidence(document, found, rest)


def _document(value: object) -> Document | None:
    try:
        return Document.objects.filter(pk=UUID(str(value))).first()
    except ValueError:
        return None


def _page(value: object, document: Document) -> EvidencePage | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"page": value}
    if not isinstance(value, Mapping):
        return None
    number = value.get("page", value.get("number"))
    if not isinstance(number, int) or number < 1:
        return None
    listed = value.get("marks", value.get("boxes"))
    found: list[tuple[Mark, str]] = []
    for place, one in enumerate(listed or (), 1):
        mark = mark_of(one, place)
        if mark is not None:
            box = in_address(sides_of(one) or ())
            alone = address_of(document.pk, number, [box])
            found.append((replace(mark, address=alone), box))
    text = value.get("text") or value.get("note") or ""
    return EvidencePage(
        number,
        tuple(mark for mark, _ in found),
        str(text),
        address_of(document.pk, number, [box for _, box in found]),
    )
