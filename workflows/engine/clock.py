"""The clock of a graph, which tests replace by one that does not wait."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """Return the current time, with time zone."""

    def monotonic(self) -> float:
        """Return seconds that never decrease; only differences are meaningful."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def time_after(start: datetime, duration: timedelta) -> datetime:
    """Return the time that long after another one. Raises ValueError beyond the year 9999."""
    try:
        return start + duration
    except OverflowError as error:
        raise ValueError(f"{duration} is longer than the calendar") from error
