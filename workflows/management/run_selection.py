"""Options of commands that select runs by the time of their launch."""

from __future__ import annotations

import datetime as dt
import re
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Final

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

if TYPE_CHECKING:
    from argparse import ArgumentParser

SPAN: Final = re.compile(r"(\d{1,5})([hdw])")
UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}


def add_period(parser: ArgumentParser) -> None:
    """Add `--since` and `--until`."""
    what = "a date, a time, or how long ago: 12h, 30d, 2w"
    parser.add_argument(
        "--since", type=moment, help=f"runs launched then or later: {what}"
    )
    parser.add_argument("--until", type=moment, help="runs launched before")


def moment(text: str) -> dt.datetime:
    """Return the time of an option; a date is its midnight. Raises ArgumentTypeError."""
    if span := SPAN.fullmatch(text):
        number, unit = span.groups()
        return timezone.now() - dt.timedelta(**{UNITS[unit]: int(number)})
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)):
            found = dt.datetime.combine(day, dt.time())
    except ValueError as error:
        raise ArgumentTypeError(f"“{text}” is no date: {error}.") from error
    if found is None:
        raise ArgumentTypeError(
            f"“{text}” is no time. Examples: 2026-11-01, 2026-11-01T08:00Z, 30d."
        )
    return found if timezone.is_aware(found) else timezone.make_aware(found)
