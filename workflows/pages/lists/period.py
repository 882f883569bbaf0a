"""Periods of filters: a span up to now, or a range of days."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils import timezone

from workflows.pages.render.zones import ZONE, zone_in, zone_named

if TYPE_CHECKING:
    from collections.abc import Mapping

SPANS = {
    "1h": ("Last hour", dt.timedelta(hours=1)),
    "24h": ("Last 24 hours", dt.timedelta(hours=24)),
    "7d": ("Last 7 days", dt.timedelta(days=7)),
    "30d": ("Last 30 days", dt.timedelta(days=30)),
    "90d": ("Last 90 days", dt.timedelta(days=90)),
}
FIRST, LAST = dt.date(1971, 1, 1), dt.date(9000, 1, 1)  # accepted days
CHOICES = [(key, name) for key, (name, _) in SPANS.items()]


@dataclass(frozen=True, slots=True)
class Period:
    """A period; open-ended where a bound is None."""

    span: str = ""  # a key of SPANS; excludes first and last
    first: dt.date | None = None
    last: dt.date | None = None  # inclusive
    zone: str = ""  # time zone of the days; "" is the server's

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Period:
        """Read the period of a query, ignoring invalid values."""
        span = query.get("when", "")
        if span in SPANS:
            return cls(span=span)
        first, last = _day(query.get("from", "")), _day(query.get("to", ""))
        return cls(first=first, last=last, zone=zone_in(query) if first or last else "")

    @property
    def is_any(self) -> bool:
        """Return whether it has a bound."""
        return bool(self.span or self.first or self.last)

    @property
    def since(self) -> dt.datetime | None:
        """Return the start, inclusive."""
        if self.span:
            return timezone.now() - SPANS[self.span][1]
        return _midnight(self.first, self.zone) if self.first else None

    @property
    def until(self) -> dt.datetime | None:
        """Return the end, exclusive."""
        if not self.last:
            return None
        return _midnight(self.last + dt.timedelta(days=1), self.zone)

    @property
    def query(self) -> dict[str, str]:
        """Return the period as fields of a query string."""
        fields = {
            "when": self.span,
            "from": self.first.isoformat() if self.first else "",
            "to": self.last.isoformat() if self.last else "",
            ZONE: self.zone,
        }
        return {name: value for name, value in fields.items() if value}


ANY_TIME = Period()


def _day(text: str) -> dt.date | None:
    """Return a day, None for an invalid or unaccepted one."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST <= day <= LAST else None


def _midnight(day: dt.date, zone: str) -> dt.datetime:
    """Return the start of a day in a time zone."""
    return dt.datetime.combine(day, dt.time(), zone_named(zone))
