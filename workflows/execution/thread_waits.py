"""The time for which a step waits for a thread."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

ALL = -1  # stands for the step itself, which has no items


@dataclass(slots=True)
class ThreadWaits:
    """The waits of one step: it waits while all of its started items wait."""

    seconds: float = 0.0  # waited so far, without the current wait
    _items: set[int] = field(default_factory=set)  # started, of a parallel step
    _waiting: set[int] = field(default_factory=set)
    _working: int = (
        0  # started items that do not wait: counted, since there may be many
    )
    _since: float | None = None  # on the monotonic clock, while it waits

    @property
    def is_waiting(self) -> bool:
        """True while no part of the step has a thread."""
        return self._since is not None

    def start_item(self, item: int) -> None:
        if item not in self._items:
            self._items.add(item)
            self._working += item not in self._waiting
        self._update()

    def end_item(self, item: int) -> None:
        if item in self._items:
            self._items.discard(item)
            self._working -= item not in self._waiting
        self._update()

    def wait(self, item: int = ALL) -> None:
        """Record that the step, or an item of it, waits for a thread."""
        if item not in self._waiting:
            self._waiting.add(item)
            self._working -= item in self._items
        self._update()

    def end_wait(self, item: int = ALL) -> None:
        """Record that the step, or an item of it, has a thread."""
        if item in self._waiting:
            self._waiting.discard(item)
            self._working += item in self._items
        self._update()

    def _update(self) -> None:
        waits = bool(self._waiting) and not self._working
        if waits and self._since is None:
            self._since = time.monotonic()
        elif not waits and self._since is not None:
            self.seconds += time.monotonic() - self._since
            self._since = None
