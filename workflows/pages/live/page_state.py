"""The regions that an open page has, and what differs from the newest rendering."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Any

from workflows.pages.live.render_cache import RenderedRegions, render_cache
from workflows.pages.render.regions import Region, difference

Render = Callable[[], Awaitable[RenderedRegions]]
Parts = Callable[[], Iterator[tuple[Hashable, Render]]]


class PageState:
    """The watched parts of one open page, their renderings, and the regions sent."""

    def __init__(self) -> None:
        self.keys: tuple[Hashable, ...] = ()
        self._rendered: dict[Hashable, RenderedRegions] = {}
        self._sent: dict[str, Region] = {}

    def watch(self, keys: tuple[Hashable, ...]) -> bool:
        """Watch the parts with these keys and no others; return whether they changed."""
        before = self.keys
        for key in keys:
            render_cache.watch(key)
        self.leave()
        self.keys = keys
        self._rendered = {k: self._rendered[k] for k in keys if k in self._rendered}
        return keys != before

    def leave(self) -> None:
        """Watch nothing."""
        for key in self.keys:
            render_cache.leave(key)
        self.keys = ()

    def discard(self, key: Hashable) -> None:
        """Render a part again at the next refresh."""
        self._rendered.pop(key, None)

    def forget_sent(self) -> None:
        """Send all regions again: the page may show older ones."""
        self._sent.clear()

    @property
    def is_gone(self) -> bool:
        """Whether the content of a part was deleted."""
        return any(rendered.is_gone for rendered in self._rendered.values())

    @property
    def version(self) -> int:
        """The newest version of a part; 0 without any."""
        return max((one.version for one in self._rendered.values()), default=0)

    @property
    def again_at(self) -> float:
        """The monotonic time from which a part can differ without a message."""
        times = (rendered.again_at for rendered in self._rendered.values())
        return min((at for at in times if at), default=float("inf"))

    async def refresh(
        self, parts: Parts, version: int | None, *, notified: bool
    ) -> None:
        """Get the parts that are new, outdated or, after a notification, all of them.

        After a notification, `version` is the minimum version; None is the newest.
        """
        now = time.monotonic()
        for key, render in parts():
            known = self._rendered.get(key)
            options: dict[str, Any] = {"version": version}
            if not notified:
                if known is None:
                    options = {"version": self.version or None}
                elif known.again_at is not None and known.again_at <= now:
                    options = {"since": known.again_at}
                else:
                    continue
            rendered = await render_cache.get(key, render, **options)
            if key in self.keys:
                self._rendered[key] = rendered

    def pop_changes(self) -> str:
        """Return what differs from the regions sent so far, and count it as sent."""
        changes = []
        for key in self.keys:
            rendered = self._rendered.get(key)
            for name, html in rendered.regions.items() if rendered else ():
                region = html if isinstance(html, Region) else Region(html)
                changes.append(difference(self._sent.get(name), region))
                self._sent[name] = region
        return "\n".join(filter(None, changes))
