"""Cron expressions in a time zone: checks, a description in words, and their times.

The rules of daylight saving time are those of Debian's cron, as cronsim implements them: a
time that a clock change skips is made up for right after it, and a time that occurs twice
is used once, except by expressions that match every hour.
"""

from __future__ import annotations

import datetime as dt
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from workflows.errors import InvalidSchedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

FIELDS: Final = 5  # minute, hour, day, month, weekday
HINT: Final = (
    "Enter five fields: minute, hour, day of month, month, day of week; such as"
    " “0 9 * * 1-5” for 9:00 from Monday to Friday."
)
MAX_EXPRESSION_LENGTH: Final = 100
NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def normalised(expression: str) -> str:
    """Return an expression of five fields. Raises InvalidSchedule for any other text."""
    text = " ".join(expression.split())
    text = NICKNAMES.get(text.lower(), text)
    if len(text.split()) != FIELDS:
        raise InvalidSchedule({"cron": [HINT]})
    try:
        next(CronSim(text, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    except StopIteration:
        raise InvalidSchedule({"cron": ["No date matches this expression."]}) from None
    except CronSimError as error:
        why = str(error).removeprefix("Bad ")
        raise InvalidSchedule({"cron": [f"The {why} is invalid."]}) from error
    return text


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises InvalidSchedule."""
    if name not in available_timezones():
        raise InvalidSchedule({"zone": ["Enter a time zone such as Europe/Berlin."]})
    return ZoneInfo(name)


def describe(expression: str) -> str:
    """Return a description such as "At 09:00 on Monday through Friday"."""
    described: str = CronSim(
        expression, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ).explain()
    return described


def times_after(
    expression: str, zone: str, moment: dt.datetime
) -> Iterator[dt.datetime]:
    """Yield the times after a moment, in UTC and in order, each once."""
    last = moment
    for found in CronSim(expression, moment.astimezone(ZoneInfo(zone))):
        time = found.astimezone(dt.UTC)
        if time > last:
            yield time
            last = time


def next_times(
    expression: str, zone: str, moment: dt.datetime, count: int
) -> list[dt.datetime]:
    """Return the next times after a moment."""
    return list(islice(times_after(expression, zone, moment), count))


def jitter(schedule_id: UUID, moment: dt.datetime, seconds: int) -> dt.timedelta:
    """Return the delay of a moment: from 0 to `seconds`, the same in every process."""
    if not seconds:
        return dt.timedelta()
    digest = sha256(f"{schedule_id.hex} {moment.isoformat()}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return dt.timedelta(seconds=seconds * share)
