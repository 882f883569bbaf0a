"""What a person is shown beside a question: pages with places marked, and values.

A workflow's `show` gives JSON. With a `document`, its `pages` are drawn, each a number or
an object with `page` and `marks`: rectangles in fractions of the page, with what they say.
Everything else is shown as it is.
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

MAX_PAGES = 20  # drawn beside one question; the document's own page has them all


@dataclass(frozen=True, slots=True)
class EvidencePage:
    """One page to look at."""

    number: int
    marks: tuple[Mark, ...]
    text: str = ""
    address: str = ""  # of the page in the viewer, with its marks


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
    pages = [_page(one, document) for one in listed] if isinstance(listed, list) else []
    found = tuple(page for page in pages if page is not None)[:MAX_PAGES]
    rest = {k: v for k, v in values.items() if k not in {"document", "pages"}}
    return Evidence(document, found, rest)


def _document(given: object) -> Document | None:
    try:
        return Document.objects.filter(pk=UUID(str(given))).first()
    except ValueError:
        return None


def _page(given: object, document: Document) -> EvidencePage | None:
    if isinstance(given, int) and not isinstance(given, bool):
        given = {"page": given}
    if not isinstance(given, Mapping):
        return None
    number = given.get("page", given.get("number"))
    if not isinstance(number, int) or number < 1:
        return None
    listed = given.get("marks", given.get("boxes"))
    found: list[tuple[Mark, str]] = []
    for place, one in enumerate(listed or (), 1):
        mark = mark_of(one, place)
        if mark is not None:
            box = in_address(sides_of(one) or ())
            alone = address_of(document.pk, number, [box])
            found.append((replace(mark, address=alone), box))
    text = given.get("text") or given.get("note") or ""
    return EvidencePage(
        number,
        tuple(mark for mark, _ in found),
        str(text),
        address_of(document.pk, number, [box for _, box in found]),
    )
