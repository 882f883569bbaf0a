"""Live regions, rendered once for all viewers of the same content in this process.

A rendering is valid for requests made before it began, and for requests of a version that
it has reached. So a notification to two hundred open pages reads the database once: the
first request renders, the others wait for that rendering or the next one, never more.
A rendering is dropped with its last viewer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field

COSTLY_SECONDS = 0.05  # a rendering that takes longer is followed by a cooldown
COOLDOWN_FACTOR, MAX_COOLDOWN_SECONDS = 2.0, 1.0  # times the duration, and at most


@dataclass(frozen=True, slots=True)
class RenderedRegions:
    """Regions by id, as HTML, at one version of what they show."""

    regions: Mapping[str, str]
    version: int = 0  # 0: the content has no versions
    is_gone: bool = False  # the content was deleted
    again_at: float | None = None  # monotonic time after which it can differ by itself


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    viewers: int = 0
    began: float = float("-inf")
    rendered: RenderedRegions | None = None
    cooldown_until: float = float("-inf")


class RenderCache:
    """The newest rendering of each watched key."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def watch(self, key: Hashable) -> None:
        """Add a viewer."""
        self._entries.setdefault(key, _Entry()).viewers += 1

    def leave(self, key: Hashable) -> None:
        """Remove a viewer; the last one removes the entry."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.viewers -= 1
            if entry.viewers <= 0:
                del self._entries[key]

    def keys(self) -> tuple[Hashable, ...]:
        """Return the watched keys."""
        return tuple(self._entries)

    async def get(
        self,
        key: Hashable,
        render: Callable[[], Awaitable[RenderedRegions]],
        *,
        version: int | None = None,
        since: float | None = None,
    ) -> RenderedRegions:
        """Return a rendering that began after this call, or has reached `version`.

        With `since`, a time of the monotonic clock, one that began after that time is
        sufficient.
        """
        requested = time.monotonic() if since is None else since
        entry = self._entries.get(key) or _Entry()  # unwatched: rendered, not cached
        async with entry.lock:
            cached = entry.rendered
            if cached is not None and _is_valid(entry, cached, requested, version):
                return cached
            await asyncio.sleep(entry.cooldown_until - time.monotonic())
            began = time.monotonic()
            rendered = await render()
            entry.began, entry.rendered = began, rendered
            entry.cooldown_until = _cooldown_until(began, time.monotonic())
            return rendered


def _cooldown_until(began: float, ended: float) -> float:
    """Return when the next rendering may begin: costly ones are less frequent."""
    duration = ended - began
    if duration <= COSTLY_SECONDS:
        return ended
    return ended + min(COOLDOWN_FACTOR * duration, MAX_COOLDOWN_SECONDS)


def _is_valid(
    entry: _Entry, cached: RenderedRegions, requested: float, version: int | None
) -> bool:
    has_version = version is not None and cached.version >= version
    return has_version or entry.began >= requested


render_cache = RenderCache()
