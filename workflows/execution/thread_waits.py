"""Whether a step waits for a thread, and for how long it has in all."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

ALL = -1  # stands for a step that is no item of a parallel one


@dataclass(slots=True)
class ThreadWaits:
    """The waits of one step: it waits while all of its items that have begun do."""

    seconds: float = 0.0  # waited so far, without the wait under way
    _items: set[int] = field(default_factory=set)  # of a parallel step, under way
    _waiting: set[int] = field(default_factory=set)
    _since: float | None = None  # on the monotonic clock, while it waits

    @property
    def is_waiting(self) -> bool:
        """Tell whether nothing of the step has a thread."""
        return self._since is not None

    def start_item(self, item: int) -> None:
        """Note that an item is under way."""
        self._items.add(item)
        self._update()

    def end_item(self, item: int) -> None:
        """Note that an item has ended."""
        self._items.discard(item)
        self._update()

    def wait(self, item: int = ALL) -> None:
        """Note that the step, or an item of it, waits for a thread."""
        self._waiting.add(item)
        self._update()

    def end_wait(self, item: int = ALL) -> None:
        """Note that it waits no longer."""
        self._waiting.discard(item)
        self._update()

    def _update(self) -> None:
        waits = bool(self._waiting) and self._items <= self._waiting
        if waits and self._since is None:
            self._since = time.monotonic()
        elif not waits and self._since is not None:
            self.seconds += time.monotonic() - self._since
            self._since = None
