"""JSON as collapsible HTML that works without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from workflows.pages.render.page_marks import address_of, in_address, sides_of

OPEN_LEVELS = 2  # deeper ones are collapsed
MAX_CHILDREN = 100  # of one list or object; the rest is a count
SHORT_TEXT = 240  # characters; a longer text is collapsed
MAX_TEXT_CHARS = 20_000  # characters of one text that are rendered
MAX_DEPTH = 40
MAX_PREVIEW_VALUES, MAX_PREVIEW_CHARS = 4, 90  # of a collapsed object

Links = Mapping[str, tuple[str, str]]  # value → URL and name of the object with that id


VIEWER = "#viewer"  # key in Links: the document that pages in the value belong to


def tree(value: object, links: Links | None = None) -> SafeString:
    """Render a JSON value as nested, collapsible lists; known ids become links."""
    return _tree(value, links or {}, 0)


def _tree(value: object, links: Links, depth: int) -> SafeString:
    if isinstance(value, dict) and value:
        return _object(value, links, depth)
    if isinstance(value, list | tuple) and value:
        if _is_plain(value):
            return _row(value, links)
        return _branch(
            ((str(place), item) for place, item in enumerate(value, 1)),
            len(value),
            links,
            depth,
        )
    return _leaf(value, links)


def _object(value: dict[str, Any], links: Links, depth: int) -> SafeString:
    if VIEWER in links and _is_place(value):
        return _place(value, links[VIEWER][0])
    return _branch(value.items(), len(value), links, depth)


def _is_place(value: dict[str, Any]) -> bool:
    """Return whether a value is a place on a page: `page` and `box` only."""
    return (
        set(value) == {"page", "box"}
        and isinstance(value["page"], int)
        and isinstance(value["box"], dict)
        and sides_of(value) is not None
    )


def _place(value: dict[str, Any], document: str) -> SafeString:
    """Return a link to the page in the viewer, with the place marked."""
    address = address_of(document, value["page"], [in_address(sides_of(value) or ())])
    return format_html(
        '<span class="json-value"><a href="{}">shown on page {}</a></span>',
        address,
        value["page"],
    )


def _is_plain(values: Sequence[object]) -> bool:
    """Return whether a list is short enough for one line."""
    few = 12
    return len(values) <= few and all(
        isinstance(item, int | float | bool)
        or (isinstance(item, str) and len(item) < few)
        for item in values
    )


def _row(values: Sequence[object], links: Links) -> SafeString:
    items = format_html_join(", ", "{}", ((_leaf(item, links),) for item in values))
    return format_html('<span class="json-row">{}</span>', items)


def _branch(
    pairs: Iterable[tuple[str, Any]], count: int, links: Links, depth: int
) -> SafeString:
    if depth >= MAX_DEPTH:
        return format_html('<span class="json-more">{} more inside</span>', count)
    rows = format_html_join(
        "",
        "{}",
        (
            (_pair(name, item, links, depth),)
            for _, (name, item) in zip(range(MAX_CHILDREN), pairs, strict=False)
        ),
    )
    hidden = count - MAX_CHILDREN
    more = (
        format_html('<li class="json-more">… and {} more</li>', hidden)
        if hidden > 0
        else ""
    )
    return format_html('<ul class="json">{}{}</ul>', rows, more)


def _pair(name: str, value: object, links: Links, depth: int) -> SafeString:
    shown = _tree(value, links, depth + 1)
    if (
        isinstance(value, dict | list | tuple)
        and value
        and not shown.startswith("<span")
    ):
        is_open = mark_safe(" open") if depth + 1 < OPEN_LEVELS else ""
        about = preview(value)
        return format_html(
            '<li class="json-fold"><details{}><summary><b>{}</b> <small>{}</small>'
            "</summary>{}</details></li>",
            is_open,
            name,
            about,
            shown,
        )
    return format_html(
        '<li><b>{}</b><span class="json-value">{}</span></li>', name, shown
    )


def preview(value: dict[str, object] | list[object] | tuple[object, ...]) -> str:
    """Return the summary of a collapsed value: first values of an object, size of a list."""
    if not isinstance(value, dict):
        return f"{len(value)} item{'' if len(value) == 1 else 's'}"
    values = [
        f"{name} {item if isinstance(item, str) else json.dumps(item, default=str)}"
        for _, (name, item) in zip(
            range(MAX_PREVIEW_VALUES), value.items(), strict=False
        )
        if not isinstance(item, dict | list | tuple)
    ]
    text = " · ".join(values) or f"{len(value)} values"
    return (
        text if len(text) <= MAX_PREVIEW_CHARS else f"{text[: MAX_PREVIEW_CHARS - 1]}…"
    )


def _leaf(value: object, links: Links) -> SafeString:
    if isinstance(value, str):
        return _text(value, links)
    if value is None or value in ([], {}, ()):
        return format_html('<span class="json-none">{}</span>', json.dumps(value))
    if isinstance(value, bool):
        return format_html('<span class="json-word">{}</span>', json.dumps(value))
    return format_html(
        '<span class="json-number">{}</span>', json.dumps(value, default=str)
    )


def _text(value: str, links: Links) -> SafeString:
    if value in links:
        address, name = links[value]
        return format_html('<a href="{}">{}</a>', address, name)
    if not value:
        return mark_safe('<span class="json-none">&quot;&quot;</span>')
    if len(value) <= SHORT_TEXT:
        return format_html('<span class="json-text">{}</span>', value)
    shown = value[:MAX_TEXT_CHARS]
    cut = len(value) - len(shown)
    more = f"\n… and {cut:,} more characters" if cut else ""
    return format_html(
        '<details class="json-long"><summary>{}… <small>{} characters</small></summary>'
        "<pre>{}{}</pre></details>",
        value[:80],
        f"{len(value):,}",
        shown,
        more,
    )
