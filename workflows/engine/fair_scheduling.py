"""Turns of an event loop, shared fairly by very many tasks.

The tasks of ten thousand items that are ready at once would all run within one iteration of the
loop, and everything else on it would wait for them. Each asks for a turn before a part of its
work; a limited number continues per iteration, the others wait in the order in which they came.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

MAX_TURNS = 100  # per iteration of the loop
SLICE_SECONDS = 0.005  # of work per iteration, after which no more turns are handed out


class Turns:
    """The turns of one loop: `if not turns.take(): await turns.wait()`. Not thread-safe.

    A slice is the work of one iteration: it ends after MAX_TURNS turns or SLICE_SECONDS, at the
    earliest after one turn.
    """

    __slots__ = ("_ends_at", "_is_active", "_is_new", "_left", "_postponed", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._postponed = (
            0  # at the head of the queue: their slice ended before their turn
        )
        self._is_active = False  # the end of the slice is scheduled
        self._is_new = False  # tasks were woken, and none of them has continued yet
        self._left = 0  # turns of this slice
        self._ends_at = 0.0  # on the monotonic clock

    def take(self) -> bool:
        """Return whether the caller may continue now; otherwise it has to `wait`."""
        if not self._is_active:
            self._is_active = self._is_new = True
            asyncio.get_running_loop().call_soon(self._end_slice)
        elif self._waiting or self._is_new:
            return False  # other tasks wait already
        return self._use_turn()

    async def wait(self) -> None:
        """Return in a later iteration, after those that waited before."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiting.append(waiter)
        await waiter
        while not self._use_turn():
            waiter = loop.create_future()
            self._waiting.insert(self._postponed, waiter)
            self._postponed += 1
            await waiter

    def _use_turn(self) -> bool:
        """Return whether the slice has room; count the turn. The first one begins the slice."""
        now = time.monotonic()
        if self._is_new:
            self._begin_slice(now)
        if not self._left or now >= self._ends_at:
            return False
        self._left -= 1
        return True

    def _begin_slice(self, now: float) -> None:
        self._is_new = False
        self._left, self._ends_at = MAX_TURNS, now + SLICE_SECONDS

    def _end_slice(self) -> None:
        """Let the first of those that wait continue, in the next iteration.

        Called once per iteration until there was one without turns: turns that no task
        waited for count as well.
        """
        self._postponed = 0
        woken = self._wake_waiting()
        if woken:
            self._is_new = True
        elif self._left < MAX_TURNS:
            self._begin_slice(time.monotonic())
        else:
            self._is_new = self._is_active = False
            return
        asyncio.get_running_loop().call_soon(self._end_slice)

    def _wake_waiting(self) -> int:
        """Wake the first MAX_TURNS that wait; return their number."""
        woken = 0
        while self._waiting and woken < MAX_TURNS:
            waiter = self._waiting.popleft()
            if not waiter.done():  # its task was cancelled
                waiter.set_result(None)
                woken += 1
        return woken


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of_loop() -> Turns:
    """Return the turns of the running loop."""
    return _by_loop.setdefault(asyncio.get_running_loop(), Turns())
