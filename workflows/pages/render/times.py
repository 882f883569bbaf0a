"""Times as `time` elements, which a script on the page updates."""

from __future__ import annotations

import datetime as dt

from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.pages.render import zones


def time_element(value: dt.datetime, kind: str, text: str) -> SafeString:
    """Return a time as an element that the script updates according to `kind`.

    The script keeps an exact time as it is if it is already in the reader's zone.
    """
    here = zones.local(value)
    return format_html(
        '<time datetime="{}" title="{}" data-{}="{}">{}</time>',
        here.isoformat(timespec="milliseconds"),
        f"{here.day} {here:%b} {here.year:04}, {here:%H:%M:%S} {zones.zone_of(here)}",
        kind,
        zones.current_zone() if kind in {"exact", "day"} else "",
        text,
    )


def clock(value: dt.datetime) -> SafeString:
    """Return the time of day, with date and zone as tooltip."""
    return time_element(value, "clock", f"{zones.local(value):%H:%M:%S}")
