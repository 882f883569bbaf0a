"""Views of a state's data that record the keys read, for the evaluation of predicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .frozen import FrozenDict, Json


class WatchedData(Mapping[str, Json]):
    """A view that records every key that is read or tested, also missing ones."""

    __slots__ = ("_data", "_reads")

    def __init__(self, data: FrozenDict | WatchedData, reads: dict[str, None]) -> None:
        self._data = data
        self._reads = reads

    @property
    def source(self) -> FrozenDict:
        """The underlying data."""
        data = self._data
        return data.source if isinstance(data, WatchedData) else data

    def __getitem__(self, key: str) -> Json:
        """Record the key and return its value. Raises KeyError."""
        self._reads[key] = None
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        """Record the key and return whether it exists."""
        if isinstance(key, str):
            self._reads[key] = None
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        """Record every key."""
        self._reads.update(dict.fromkeys(self._data))
        return iter(self._data)

    def __len__(self) -> int:
        """Record every key."""
        self._reads.update(dict.fromkeys(self._data))
        return len(self._data)

    def with_items(self, changes: Mapping[str, Json]) -> FrozenDict:
        """Return changed data without recording."""
        return self.source.with_items(changes)


class WatchedCache:
    """A recording view of the parsed fields of a state."""

    __slots__ = ("_cache", "_reads")

    def __init__(
        self, cache: dict[str, Any] | WatchedCache, reads: dict[str, None]
    ) -> None:
        self._cache = cache
        self._reads = reads

    def __getitem__(self, key: str) -> Any:
        """Record the key and return its value. Raises KeyError if it is not parsed yet."""
        self._reads[key] = None
        return self._cache[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Store a parsed value in the cache of the state."""
        self._cache[key] = value
