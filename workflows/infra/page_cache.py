"""What this process rendered or read for pages and does not change, within a number of bytes.

Steps that have ended, log lines, elements of diagrams, changes of the state and differences
between regions share one limit, PAGE_CACHE_BYTES: their sizes differ by a factor of a
thousand, so a number of entries would bound nothing. The entries that were not used for
longest are dropped first.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from django.conf import settings

from workflows.infra import process_metrics

Value = TypeVar("Value")

ENTRY_BYTES: Final = 1_000  # of an entry beside its texts: its key and the dictionary
MAX_SHARE: Final = 4  # an entry larger than the limit divided by this is not kept
MISSING: Final = object()


class PageCache:
    """Least recently used entries within a number of bytes; usable from any thread.

    A key contains everything that its value depends on, and starts with the name of its kind.
    """

    def __init__(self, max_bytes: Callable[[], int]) -> None:
        """`max_bytes` is called whenever an entry is added; 0 keeps nothing."""
        self.bytes = 0
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """Return the value of a key, MISSING if there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return MISSING
            self._entries.move_to_end(key)
            return entry[0]

    def add(self, key: Hashable, value: object, size: int) -> None:
        """Keep a value; `size` is the number of bytes of its texts and those of its key."""
        most, size = self._max_bytes(), size + ENTRY_BYTES
        if size > most // MAX_SHARE:
            return
        with self._lock:
            _, replaced = self._entries.pop(key, (None, 0))
            self._entries[key] = value, size
            self.bytes += size - replaced
            while self.bytes > most:
                _, (_, dropped) = self._entries.popitem(last=False)
                self.bytes -= dropped

    def get_or_make(
        self,
        key: Hashable,
        make: Callable[[], Value],
        size_of: Callable[[Value], int] = sys.getsizeof,
    ) -> Value:
        """Return the value of a key, which is made and kept if it is missing.

        Threads that miss the same key at once all make it.
        """
        value = self.get(key)
        if value is MISSING:
            value = make()
            self.add(key, value, size_of(value))
        return value  # type: ignore[no-any-return] # what `make` returned for this key

    def clear(self) -> None:
        """Drop all entries."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0


page_cache = PageCache(lambda: settings.PAGE_CACHE_BYTES)
process_metrics.PAGE_CACHE_BYTES.set_function(lambda: page_cache.bytes)
