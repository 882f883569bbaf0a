"""The parts of a page that stay true: partials of its template, sent out of band.

A region may hold items, each with an id of its own: steps, log lines, nodes of a graph.
A page that has an older drawing of it is sent only the items that differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.template.loader import render_to_string

IN_THE_BAR = ("nav-waiting",)  # regions that every page has, from the base template
TIME = re.compile(
    r"(<time [^>]*data-(?:ago|since|until)\b[^>]*>)[^<]*"
)  # goes on by itself
INDENT = re.compile(r"(<pre.*?</pre>)|\n\s+", re.DOTALL)
FOLDED = 64  # pairs of drawings whose difference is kept
WORTH = 0.7  # of the whole region, above which it is sent whole

Items = Sequence[tuple[str, str]]  # id and HTML of each item


class Region(str):
    """The HTML of a region, and what it is made of."""

    __slots__ = ("frame", "holder", "items", "wrap")

    frame: str  # the HTML without items, and without words that go on by themselves
    items: dict[str, str]
    holder: str  # id of the element that new items are appended to; "" = none are
    wrap: str  # what an item has to stand in to be understood: "svg", or nothing

    def __new__(
        cls, html: str, items: Items = (), holder: str = "", wrap: str = ""
    ) -> Region:
        """Take the region as it stands on a page; its items follow each other there."""
        region = super().__new__(cls, html)
        region.items = dict(items)
        together = "".join(item for _, item in items)
        rest = html.replace(together, "", 1) if together else html
        region.frame = timeless(rest)
        region.holder, region.wrap = holder, wrap
        return region


def timeless(html: str) -> str:
    """Return HTML without the words of times that pages keep true by themselves."""
    return TIME.sub(r"\1", html) if "<time " in html else html


def tight(html: str) -> str:
    """Return HTML without the indentation of its template; preformatted text keeps its."""
    return INDENT.sub(lambda found: found[1] or "\n", html.strip())


@lru_cache(maxsize=FOLDED)
def difference(old: Region | None, new: Region) -> str:
    """Return what turns an older drawing of a region into this one, out of band."""
    if old is None or old.frame != new.frame:
        return str(new)
    kept = [name for name in old.items if name in new.items]
    names = list(new.items)
    added = names[len(kept) :]
    if names[: len(kept)] != kept or (added and not new.holder):
        return str(new)
    parts = [_gone(name) for name in old.items if name not in new.items]
    parts += [
        _out_of_band(name, new.items[name])
        for name in kept
        if old.items[name] != new.items[name]
        and timeless(old.items[name]) != timeless(new.items[name])
    ]
    if added:
        inside = "".join(new.items[name] for name in added)
        parts.append(f'<ol hx-swap-oob="beforeend:#{new.holder}">{inside}</ol>')
    told = "".join(parts)
    if not told or len(told) > WORTH * len(new):
        return str(new) if told else ""
    return f"<{new.wrap}>{told}</{new.wrap}>" if new.wrap else told


def _gone(name: str) -> str:
    return f'<p id="{name}" hx-swap-oob="delete"></p>'


def _out_of_band(name: str, html: str) -> str:
    mark = f'id="{name}"'
    return html.replace(mark, f'{mark} hx-swap-oob="outerMorph"', 1)


def drawn(
    template: str,
    names: Iterable[str],
    context: Mapping[str, Any],
    items: Mapping[str, tuple[Items, str, str]] | None = None,
) -> dict[str, str]:
    """Return regions by id, as HTML that replaces what the page has of them.

    `items` gives the items of some regions, the id of what holds them, and what each
    has to stand in.
    """
    values = {**context, "oob": True}
    held = items or {}
    found: dict[str, str] = {}
    for name in names:
        source = "base.html" if name in IN_THE_BAR else template
        html = tight(render_to_string(f"{source}#{name}", values))
        found[name] = Region(html, *held.get(name, ((),)))
    return found
