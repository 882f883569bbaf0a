"""How names, times and sizes read on a page."""

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
LEAST_UNITS = 2  # of a unit; less is told in the next smaller one, so 47 hours
NEARLY_A_SECOND, NEARLY_A_MINUTE = 0.9995, 59.95  # seconds, where rounding goes up
TENTHS_UP_TO = 10  # seconds; longer spans need no tenths
JUST_NOW = 10  # seconds
MAX_DIGITS = 9  # after the point; what is less is nothing
THOUSAND = 1000
ONE_PERCENT = 0.01
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def in_words(name: str, *, capital: bool = True) -> str:
    """Return a name from code as words: `read_pages` → `Read pages`."""
    words = " ".join(name.replace("_", " ").replace("-", " ").split()) or name
    return words[:1].upper() + words[1:] if capital else words


def wrap(text: str, width: int, lines: int = 2) -> list[str]:
    """Return a text as at most so many lines; what does not fit ends in “…”."""
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
    """Return a length of time for people: `340 ms`, `4.2 s`, `1 m 12 s`, `3 h 5 m`."""
    if seconds < NEARLY_A_SECOND:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < NEARLY_A_MINUTE:
        return f"{seconds:.{1 if seconds < TENTHS_UP_TO else 0}f} s"
    return _in_two_units(round(seconds))


def _in_two_units(seconds: int) -> str:
    units = ((DAY, HOUR, "d", "h"), (HOUR, MINUTE, "h", "m"), (MINUTE, 1, "m", "s"))
    big, small, name, part = next(unit for unit in units if seconds >= unit[0])
    rest = seconds % big // small
    return f"{seconds // big} {name}" + (f" {rest} {part}" if rest else "")


def ago(moment: dt.datetime, now: dt.datetime) -> str:
    """Return how long before or after now a moment is: `3 minutes ago`, `in 47 hours`.

    Rounded to the nearest unit, and never from one unit only: what is called two days is
    one and a half at least. `static/js/app.js` counts on by the same rule.
    """
    seconds = (now - moment).total_seconds()
    away = int(abs(seconds) + 0.5)
    if away < JUST_NOW:
        return "just now"
    size, name = next(unit for unit in AGO_UNITS if away >= LEAST_UNITS * unit[0])
    words = f"{int(away / size + 0.5):,} {name}s"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def size(count: int) -> str:
    """Return a number of bytes for people: `312 bytes`, `4.2 MB`."""
    amount = float(count)
    for unit in UNITS[:-1]:
        if amount < THOUSAND:
            return f"{amount:.{0 if unit == UNITS[0] else 1}f} {unit}"
        amount /= THOUSAND
    return f"{amount:.1f} {UNITS[-1]}"


def percent(share: float) -> str:
    """Return a share, 0..1, as a percentage that is 0 or 100 only when it really is."""
    if 0 < share < ONE_PERCENT:
        return "<1%"
    if 1 - ONE_PERCENT < share < 1:
        return ">99%"
    return f"{share:.0%}"


def money(amount: Decimal | float, currency: str) -> str:
    """Return a sum for people: `4.20 USD`, and small ones to the digits that count."""
    value = Decimal(amount)
    if not value or abs(value) >= 1:
        return f"{value:,.2f} {currency}"
    places = min(2 - value.adjusted(), MAX_DIGITS)
    return f"{value:.{places}f} {currency}"
