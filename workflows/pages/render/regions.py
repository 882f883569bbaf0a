"""Live regions of a page: partials of its template, sent for an out-of-band swap.

A region can hold items, each with its own id: steps, log lines, nodes of a graph. A page
that has an older version of the region receives only the items that differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from django.template.loader import render_to_string

from workflows.infra.page_cache import page_cache

BASE_REGIONS = ("nav-approvals",)  # regions of the base template
TIME = re.compile(
    r"(<time [^>]*data-(?:ago|since|until)\b[^>]*>)[^<]*"
)  # a script updates the text of these elements
INDENT = re.compile(r"(<pre.*?</pre>)|\n\s+", re.DOTALL)
MAX_DIFFERENCE_SHARE = 0.7  # of the region, above which the whole region is sent

Items = Sequence[tuple[str, str]]  # id and HTML of each item


class Region(str):
    """The HTML of a region, with its items."""

    __slots__ = ("frame", "holder", "items", "wrap")

    frame: str  # the HTML without items and without texts of times
    items: dict[str, str]
    holder: str  # id of the element that new items are appended to; "" = never
    wrap: str  # element required around items: "svg" or none

    def __new__(
        cls, html: str, items: Items = (), holder: str = "", wrap: str = ""
    ) -> Region:
        """Create a region; `items` must be adjacent and in order in `html`."""
        region = super().__new__(cls, html)
        region.items = dict(items)
        together = "".join(item for _, item in items)
        rest = html.replace(together, "", 1) if together else html
        region.frame = without_times(rest)
        region.holder, region.wrap = holder, wrap
        return region

    @property
    def size(self) -> int:
        """The bytes that it takes, with its items."""
        parts = (self, self.frame, self.items, *self.items, *self.items.values())
        return sum(map(sys.getsizeof, parts))


def without_times(html: str) -> str:
    """Remove the texts of `time` elements that a script on the page updates."""
    return TIME.sub(r"\1", html) if "<time " in html else html


def strip_indentation(html: str) -> str:
    """Remove the indentation of the template, except within preformatted text."""
    return INDENT.sub(lambda match: match[1] or "\n", html.strip())


def difference(old: Region | None, new: Region) -> str:
    """Return the out-of-band swaps that turn an older version of a region into this one.

    It is computed once for all pages that have the same version.
    """
    if old is None or old.frame != new.frame:
        return str(new)
    return page_cache.get_or_make(
        ("difference", old, new),
        partial(_difference, old, new),
        lambda text: sys.getsizeof(text) + old.size + new.size,
    )


def _difference(old: Region, new: Region) -> str:
    kept = [name for name in old.items if name in new.items]
    names = list(new.items)
    added = names[len(kept) :]
    if names[: len(kept)] != kept or (added and not new.holder):
        return str(new)
    parts = [_removed(name) for name in old.items if name not in new.items]
    parts += [
        _out_of_band(name, new.items[name])
        for name in kept
        if old.items[name] != new.items[name]
        and without_times(old.items[name]) != without_times(new.items[name])
    ]
    if added:
        inside = "".join(new.items[name] for name in added)
        parts.append(f'<ol hx-swap-oob="beforeend:#{new.holder}">{inside}</ol>')
    changes = "".join(parts)
    if not changes or len(changes) > MAX_DIFFERENCE_SHARE * len(new):
        return str(new) if changes else ""
    return f"<{new.wrap}>{changes}</{new.wrap}>" if new.wrap else changes


def _removed(name: str) -> str:
    return f'<p id="{name}" hx-swap-oob="delete"></p>'


def _out_of_band(name: str, html: str) -> str:
    attribute = f'id="{name}"'
    return html.replace(attribute, f'{attribute} hx-swap-oob="outerMorph"', 1)


def render_regions(
    template: str,
    names: Iterable[str],
    context: Mapping[str, Any],
    items: Mapping[str, tuple[Items, str, str]] | None = None,
) -> dict[str, str]:
    """Render partials of a template as regions, by id, for an out-of-band swap.

    `items` has, for some regions: the items, the id of the element that holds them, and
    the element required around each.
    """
    values = {**context, "oob": True}
    with_items = items or {}
    regions: dict[str, str] = {}
    for name in names:
        source = "base.html" if name in BASE_REGIONS else template
        html = strip_indentation(render_to_string(f"{source}#{name}", values))
        regions[name] = Region(html, *with_items.get(name, ((),)))
    return regions
