"""The slots of a worker: each is reserved before a run is claimed for it.

Claims and direct launches of other threads take slots at the same time. A slot is reserved
until its run is held, so that the worker never holds more runs than it has slots for.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Slots:
    """Counts reserved slots; safe to use from any thread."""

    def __init__(self, capacity: int, in_use: Callable[[], int]) -> None:
        """`in_use` returns the slots that are taken, in any thread."""
        self._capacity = capacity
        self._in_use = in_use
        self._lock = threading.Lock()
        self._reserved = 0
        self._is_closed = False
        self._has_launches = False  # since the last claim
        self._emptied: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def reserve_for_launches(self, count: int) -> int | None:
        """Reserve so many slots; return how many are left, None if there are too few."""
        with self._lock:
            self._has_launches = True
            further = self._free() - count
            if further < 0:
                return None
            self._reserved += count
            return further

    def reserve_for_claim(self) -> int:
        """Reserve the free slots; half of them while there are direct launches.

        A claim that reserved all of them would turn the launches meanwhile into pending
        runs, which need a claim again.
        """
        with self._lock:
            free = self._free()
            reserved = (free + 1) // 2 if self._has_launches else free
            self._has_launches = False
            self._reserved += reserved
            return reserved

    def end_reservation(self, count: int) -> None:
        """End the reservation of slots whose runs are held now, or were not claimed."""
        with self._lock:
            self._reserved -= count
            emptied = self._emptied if not self._reserved else None
        if emptied is not None:
            loop, event = emptied
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(event.set)

    async def close(self) -> None:
        """Reserve no more slots; return when all reservations have ended."""
        with self._lock:
            self._is_closed = True
            if not self._reserved:
                return
            if self._emptied is None:
                self._emptied = asyncio.get_running_loop(), asyncio.Event()
            _, event = self._emptied
        await event.wait()

    def _free(self) -> int:
        if self._is_closed:
            return 0
        return max(self._capacity - self._in_use() - self._reserved, 0)
