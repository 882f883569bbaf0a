"""A token bucket, for limits that are checked very often and only in this process."""

from __future__ import annotations


class Bucket:
    """So many events a second, and those of some seconds at once.

    The caller gives the time in seconds of one monotonic clock.
    """

    def __init__(self, per_second: float, *, seconds: float, now: float) -> None:
        """Start full: with the events of `seconds`."""
        self._rate, self._most = per_second, per_second * seconds
        self._left, self._at = self._most, now

    def take(self, now: float) -> bool:
        """Count an event; return False, and count nothing, if it is one too many."""
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
