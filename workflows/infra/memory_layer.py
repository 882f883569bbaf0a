"""The channel layer of an installation without Redis: one process with several event loops.

Channels' own in-memory layer belongs to one event loop: a message from another thread does
not wake the receiver. Here the pages, the worker and its nodes each have an event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from copy import deepcopy
from typing import Any

from channels.layers import InMemoryChannelLayer

Base: Any = InMemoryChannelLayer  # Channels publishes no types


class ThreadSafeChannelLayer(Base):  # type: ignore[misc]
    """An in-memory layer whose groups may have members on several event loops.

    A channel belongs to the event loop on which it joined its group: `receive` has to be
    called there. `group_send` may be called on any loop.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.Lock()  # of the groups and of the loops
        self._loops: dict[str, asyncio.AbstractEventLoop] = {}

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel of the running event loop to a group."""
        with self._lock:
            self._loops[channel] = asyncio.get_running_loop()
            self.groups.setdefault(group, {})[channel] = time.time()

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group."""
        with self._lock:
            self._discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to each member of a group; a full channel does not receive it."""
        with self._lock:
            members = [(name, self._loops[name]) for name in self.groups.get(group, ())]
        here = asyncio.get_running_loop()
        for channel, loop in members:
            if loop is here:
                self._put(channel, deepcopy(message))
                continue
            try:
                loop.call_soon_threadsafe(self._put, channel, deepcopy(message))
            except RuntimeError:  # the loop was closed without leaving the group
                await self.group_discard(group, channel)

    def _put(self, channel: str, message: dict[str, Any]) -> None:
        """Add a message to a channel of this thread's event loop."""
        size = self.get_capacity(channel)
        queue = self.channels.setdefault(channel, asyncio.Queue(maxsize=size))
        with suppress(asyncio.QueueFull):
            queue.put_nowait((time.time() + self.expiry, message))

    def _discard(self, group: str, channel: str) -> None:
        members = self.groups.get(group, {})
        members.pop(channel, None)
        if not members:
            self.groups.pop(group, None)
        if not any(channel in others for others in self.groups.values()):
            self._loops.pop(channel, None)

    def _clean_expired(self) -> None:
        """Drop expired messages of channels of the running loop, and their memberships."""
        here = asyncio.get_running_loop()
        for channel in [name for name, loop in [*self._loops.items()] if loop is here]:
            queue = self.channels.get(channel)
            # as Channels does: a queue has no public way to look at its first entry
            while queue and not queue.empty() and queue._queue[0][0] < time.time():  # noqa: SLF001
                queue.get_nowait()
                self._remove_from_groups(channel)

    def _remove_from_groups(self, channel: str) -> None:
        with self._lock:
            for group in [*self.groups]:
                self._discard(group, channel)
