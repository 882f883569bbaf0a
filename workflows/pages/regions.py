"""The parts of a page that stay true: partials of its template, sent out of band."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.template.loader import render_to_string

IN_THE_BAR = ("nav-waiting",)  # regions that every page has, from the base template


def drawn(
    template: str, names: Iterable[str], context: Mapping[str, Any]
) -> dict[str, str]:
    """Return regions by id, as HTML that replaces what the page has of them."""
    values = {**context, "oob": True}
    return {
        name: render_to_string(
            f"{'base.html' if name in IN_THE_BAR else template}#{name}", values
        )
        for name in names
    }
