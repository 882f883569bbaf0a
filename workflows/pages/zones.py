"""The reader's time zone, where the server itself has to know it: days and bars of charts.

Moments on a page are told by its script, in the reader's zone. What is counted by the day
is counted here: the script leaves the name of the zone in a cookie. Without it, and for a
name that is none, the zone is the server's; either is named beside what it is used for.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

ZONE = "zone"  # the cookie, and the word in an address


def zone_in(given: Mapping[str, str]) -> str:
    """Return the name of the zone in a query or in cookies, "" for the server's."""
    name = given.get(ZONE, "")
    return name if name in _known() else ""


def zone_named(name: str) -> dt.tzinfo:
    """Return a zone, the server's for ""."""
    return ZoneInfo(name) if name else timezone.get_default_timezone()


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones())
