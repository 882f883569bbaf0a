"""Live regions, drawn once for everyone who watches the same thing in this process.

A drawing is good for whoever asked before it began, and for whoever waits for a version
that it has reached. So a nudge to two hundred open pages reads the database once: the
first to ask draws, the others wait for that drawing or for the one after it, never more.
A drawing is forgotten with its last viewer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field

COSTLY = 0.05  # seconds; a drawing that takes longer is followed by a rest
RESTS, LONGEST_REST = 2, 1.0  # times as long as it took, and seconds at most


@dataclass(frozen=True, slots=True)
class Drawing:
    """Regions by id, as HTML, at one version of what they show."""

    regions: Mapping[str, str]
    version: int = 0  # 0: what is drawn has no versions
    is_gone: bool = False  # what it showed was deleted
    again_at: float | None = None  # monotonic; then it may differ without any news


@dataclass(slots=True)
class _Shared:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    viewers: int = 0
    began: float = float("-inf")
    drawing: Drawing | None = None
    rest_until: float = float("-inf")


class Drawings:
    """The newest drawing of each thing that is being watched."""

    def __init__(self) -> None:
        """Start with nothing watched."""
        self._shared: dict[Hashable, _Shared] = {}

    def watch(self, key: Hashable) -> None:
        """Count one viewer more."""
        self._shared.setdefault(key, _Shared()).viewers += 1

    def leave(self, key: Hashable) -> None:
        """Count one viewer less; the last one takes the drawing along."""
        shared = self._shared.get(key)
        if shared is not None:
            shared.viewers -= 1
            if shared.viewers <= 0:
                del self._shared[key]

    def keys(self) -> tuple[Hashable, ...]:
        """Return what is being watched."""
        return tuple(self._shared)

    async def get(
        self,
        key: Hashable,
        draw: Callable[[], Awaitable[Drawing]],
        *,
        version: int | None = None,
        since: float | None = None,
    ) -> Drawing:
        """Return a drawing that is no older than this call, or has this version.

        `since` asks for one that is no older than that time (of the monotonic clock).
        """
        asked = time.monotonic() if since is None else since
        shared = self._shared.get(key) or _Shared()  # unwatched: drawn, not kept
        async with shared.lock:
            known = shared.drawing
            if known is not None and _is_good(shared, known, asked, version):
                return known
            await asyncio.sleep(shared.rest_until - time.monotonic())
            began = time.monotonic()
            drawing = await draw()
            shared.began, shared.drawing = began, drawing
            shared.rest_until = _rested(began, time.monotonic())
            return drawing


def _rested(began: float, ended: float) -> float:
    """Return when the next drawing may begin: what is costly is drawn less often."""
    took = ended - began
    return ended + min(RESTS * took, LONGEST_REST) if took > COSTLY else ended


def _is_good(
    shared: _Shared, known: Drawing, asked: float, version: int | None
) -> bool:
    reached = version is not None and known.version >= version
    return reached or shared.began >= asked


drawings = Drawings()
