"""A clock for tests, which moves only when code moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock that only advances when it is moved; waits return immediately."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self.time = start
        self.slept: list[float] = []  # seconds of each wait of nodes and retries

    def now(self) -> datetime:
        """Return the current time of the clock."""
        return self.time

    def monotonic(self) -> float:
        """Return the current time of the clock in seconds."""
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        """Move the clock by some seconds and let other tasks run."""
        self.slept.append(seconds)
        self.move(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def wait_until(self, time: datetime) -> None:
        """Move the clock to a time and record the wait, also if it is 0 seconds."""
        self.slept.append(max(0.0, (time - self.time).total_seconds()))
        self.move_to(time)

    def move(self, time: timedelta) -> None:
        """Move the clock forward."""
        self.time += time

    def move_to(self, time: datetime) -> None:
        """Move the clock forward to a time; it never goes back."""
        self.time = max(self.time, time)
