"""Names, durations, sizes and amounts as text."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
YEAR = 31_556_952  # seconds: the mean of the Gregorian calendar
AGO_UNITS = (
    (YEAR, "year"),
    (DAY, "day"),
    (HOUR, "hour"),
    (MINUTE, "minute"),
    (1, "second"),
)
MIN_UNITS = 2  # of a unit; less is shown in the next smaller one, such as 47 hours
ROUNDS_TO_SECOND, ROUNDS_TO_MINUTE = 0.9995, 59.95  # seconds, from which on
TENTHS_LIMIT_SECONDS = 10  # longer durations have no tenths
JUST_NOW_SECONDS = 10
MAX_DIGITS = 9  # after the decimal point
THOUSAND = 1000
ONE_PERCENT = 0.01
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def readable_name(name: str, *, capital: bool = True) -> str:
    """Return an identifier as text: `read_pages` → `Read pages`."""
    text = " ".join(name.replace("_", " ").replace("-", " ").split()) or name
    return text[:1].upper() + text[1:] if capital else text


def wrap(text: str, width: int, lines: int = 2) -> list[str]:
    """Wrap a text to at most `lines` lines; a longer line is cut with “…”."""
    rows = [""]
    for word in text.split():
        joined = f"{rows[-1]} {word}".strip()
        if len(joined) <= width or not rows[-1]:
            rows[-1] = joined
        else:
            rows.append(word)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], " ".join(rows[lines - 1 :])]
    return [
        row if len(row) <= width else f"{row[: width - 1].rstrip()}…" for row in rows
    ]


def span(seconds: float) -> str:
    """Return a duration as text: `340 ms`, `4.2 s`, `1 m 12 s`, `3 h 5 m`."""
    if seconds < ROUNDS_TO_SECOND:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < ROUNDS_TO_MINUTE:
        return f"{seconds:.{1 if seconds < TENTHS_LIMIT_SECONDS else 0}f} s"
    return _in_two_units(round(seconds))


def _in_two_units(seconds: int) -> str:
    units = ((DAY, HOUR, "d", "h"), (HOUR, MINUTE, "h", "m"), (MINUTE, 1, "m", "s"))
    big, small, name, part = next(unit for unit in units if seconds >= unit[0])
    rest = seconds % big // small
    return f"{seconds // big} {name}" + (f" {rest} {part}" if rest else "")


def ago(moment: dt.datetime, now: dt.datetime) -> str:
    """Return a time relative to now: `3 minutes ago`, `in 47 hours`.

    Rounded to the nearest unit, of which there are at least two: below two days, hours.
    `static/js/app.js` updates the text by the same rule.
    """
    seconds = (now - moment).total_seconds()
    away = int(abs(seconds) + 0.5)
    if away < JUST_NOW_SECONDS:
        return "just now"
    size, name = next(unit for unit in AGO_UNITS if away >= MIN_UNITS * unit[0])
    length = f"{int(away / size + 0.5):,} {name}s"
    return f"{length} ago" if seconds > 0 else f"in {length}"


def size(count: int) -> str:
    """Return a number of bytes as text: `312 bytes`, `4.2 MB`."""
    amount = float(count)
    for unit in UNITS[:-1]:
        if amount < THOUSAND:
            return f"{amount:.{0 if unit == UNITS[0] else 1}f} {unit}"
        amount /= THOUSAND
    return f"{amount:.1f} {UNITS[-1]}"


def percent(share: float) -> str:
    """Return a share, 0..1, as a percentage; 0% and 100% only for exact values."""
    if 0 < share < ONE_PERCENT:
        return "<1%"
    if 1 - ONE_PERCENT < share < 1:
        return ">99%"
    return f"{share:.0%}"


def money(amount: Decimal | float, currency: str) -> str:
    """Return an amount as text: `4.20 USD`; small ones with three significant digits."""
    value = Decimal(amount)
    if not value or abs(value) >= 1:
        return f"{value:,.2f} {currency}"
    places = min(2 - value.adjusted(), MAX_DIGITS)
    return f"{value:.{places}f} {currency}"
