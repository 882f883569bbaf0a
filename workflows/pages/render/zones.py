"""The reader's time zone: moments on pages, days and bars of charts, and fields of forms.

The script of the pages leaves the name of the reader's zone in a cookie. Without it, and
for a name that is none, the zone is the server's. `in_readers_zone` activates it for each
request, so that Django's own pages, such as admin, use it as well; sockets do so for what
they render.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ParamSpec, TypeVar

    from django.http import HttpRequest, HttpResponseBase

    P = ParamSpec("P")
    R = TypeVar("R")

ZONE = "zone"  # the cookie, and the word in an address


class BoundedZone(dt.tzinfo):
    """A zone that never raises: what it cannot hold stays in UTC.

    The first and last hours of the calendar lie outside of the years 1 to 9999 in some
    zones. Django converts every moment that it shows, and has no answer to that.
    """

    def __init__(self, zone: dt.tzinfo) -> None:
        """Take the zone that holds all other moments."""
        self.zone = zone

    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return the offset of the zone, and none where it has no answer."""
        try:
            return self.zone.utcoffset(moment)
        except OverflowError:
            return dt.timedelta()

    def dst(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return what the zone says."""
        return self.zone.dst(moment)

    def tzname(self, moment: dt.datetime | None) -> str | None:
        """Return what the zone says."""
        return self.zone.tzname(moment)

    def fromutc(self, moment: dt.datetime) -> dt.datetime:
        """Return a moment in the zone, or in UTC where the zone cannot hold it."""
        try:
            return self.zone.fromutc(moment.replace(tzinfo=self.zone))
        except OverflowError:
            return moment.replace(tzinfo=dt.UTC)

    def __str__(self) -> str:
        """Return the name of the zone."""
        return str(self.zone)


def zone_in(given: Mapping[str, str]) -> str:
    """Return the name of the zone in a query or in cookies, "" for the server's."""
    name = given.get(ZONE, "")
    return name if is_zone(name) else ""


def is_zone(name: str) -> bool:
    """Tell whether a text is the name of a time zone."""
    return name in _known()


def zone_named(name: str) -> dt.tzinfo:
    """Return a zone, the server's for ""."""
    return ZoneInfo(name) if name else timezone.get_default_timezone()


def current_zone() -> str:
    """Return the name of the zone in which moments are shown and read just now."""
    return str(timezone.get_current_timezone())


def local(moment: dt.datetime) -> dt.datetime:
    """Return an aware moment in the current zone; in its own where no year holds it."""
    zone = timezone.get_current_timezone()
    try:
        return moment.astimezone(BoundedZone(zone))
    except OverflowError:  # not even UTC holds it
        return moment


def zone_of(moment: dt.datetime) -> str:
    """Return the short name of a moment's zone: `CEST`, or `UTC-03:00` where it has none."""
    name = moment.tzname() or ""
    if name[:1] not in {"+", "-"}:
        return name
    offset = moment.isoformat()[-6:]
    return f"UTC{offset}"


def exactly(moment: dt.datetime) -> str:
    """Return a moment to the minute in the current zone, with the zone's short name."""
    here = local(moment)
    # not %Y: it does not pad years before 1000
    return f"{here.day} {here:%b} {here.year:04}, {here:%H:%M} {zone_of(here)}"


def in_zone(name: str, do: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Call a function while a zone is the current one; "" is the server's."""
    with timezone.override(BoundedZone(zone_named(name))):
        return do(*args, **options)


def in_readers_zone(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that answers each request in the zone of its reader."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        return in_zone(zone_in(request.COOKIES), get_response, request)

    return respond


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones())
