"""The reader's time zone, for times on pages, days of charts and fields of forms.

A script on the pages stores the name of the reader's zone in a cookie. Without it, or with
an unknown name, the server's zone applies. `in_readers_zone` activates the zone for each
request, including those of Django admin; websockets activate it for what they render.
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

ZONE = "zone"  # name of the cookie and of the query parameter


class BoundedZone(dt.tzinfo):
    """A zone that never raises OverflowError: times that it can't hold stay in UTC.

    In some zones, the first and last hours of the calendar are outside the years 1 to 9999.
    Django converts each time that it renders and does not handle that error.
    """

    def __init__(self, zone: dt.tzinfo) -> None:
        """Wrap the zone that applies to all other times."""
        self.zone = zone

    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return the offset of the zone, 0 for a time that it can't hold."""
        try:
            return self.zone.utcoffset(moment)
        except OverflowError:
            return dt.timedelta()

    def dst(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return the daylight saving time of the zone."""
        return self.zone.dst(moment)

    def tzname(self, moment: dt.datetime | None) -> str | None:
        """Return the abbreviation of the zone."""
        return self.zone.tzname(moment)

    def fromutc(self, moment: dt.datetime) -> dt.datetime:
        """Return a time in the zone, in UTC if the zone can't hold it."""
        try:
            return self.zone.fromutc(moment.replace(tzinfo=self.zone))
        except OverflowError:
            return moment.replace(tzinfo=dt.UTC)

    def __str__(self) -> str:
        """Return the name of the zone."""
        return str(self.zone)


def zone_in(values: Mapping[str, str]) -> str:
    """Return the zone name in a query or in cookies, "" for the server's."""
    name = values.get(ZONE, "")
    return name if is_zone(name) else ""


def is_zone(name: str) -> bool:
    """Return whether a text is the name of a time zone."""
    return name in _known()


def zone_named(name: str) -> dt.tzinfo:
    """Return a zone by name, the server's for ""."""
    return ZoneInfo(name) if name else timezone.get_default_timezone()


def current_zone() -> str:
    """Return the name of the active zone."""
    return str(timezone.get_current_timezone())


def local(moment: dt.datetime) -> dt.datetime:
    """Return an aware time in the active zone; unchanged if not even UTC can hold it."""
    zone = timezone.get_current_timezone()
    try:
        return moment.astimezone(BoundedZone(zone))
    except OverflowError:
        return moment


def zone_of(moment: dt.datetime) -> str:
    """Return the short zone name of a time: `CEST`, or `UTC-03:00` if it has none."""
    name = moment.tzname() or ""
    if name[:1] not in {"+", "-"}:
        return name
    offset = moment.isoformat()[-6:]
    return f"UTC{offset}"


def date_time(moment: dt.datetime) -> str:
    """Return a time in the active zone: `29 Mar 2026, 14:00 CEST`."""
    here = local(moment)
    # not %Y: it does not pad years before 1000
    return f"{here.day} {here:%b} {here.year:04}, {here:%H:%M} {zone_of(here)}"


def date_time_in_own_zone(moment: dt.datetime) -> str:
    """Return a time in its own zone, with the weekday: `Sun 29 Mar 2026, 14:00 CEST`."""
    day = f"{moment:%a} {moment.day} {moment:%b} {moment.year:04}"
    return f"{day}, {moment:%H:%M} {zone_of(moment)}"


def in_zone(name: str, do: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Call a function with a zone activated; "" is the server's."""
    with timezone.override(BoundedZone(zone_named(name))):
        return do(*args, **options)


def in_readers_zone(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that activates the zone of the cookie for each request."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        return in_zone(zone_in(request.COOKIES), get_response, request)

    return respond


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones())
