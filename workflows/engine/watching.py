"""A state's data that notes which keys are read: what a predicate looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .frozen import FrozenDict, Json


class WatchedData(Mapping[str, Json]):
    """The same content; every key that is read or asked for is noted, also a missing one."""

    __slots__ = ("_data", "_reads")

    def __init__(self, data: FrozenDict | WatchedData, reads: dict[str, None]) -> None:
        """Take the content, and where to note keys."""
        self._data = data
        self._reads = reads

    @property
    def source(self) -> FrozenDict:
        """The content itself, unwatched."""
        data = self._data
        return data.source if isinstance(data, WatchedData) else data

    def __getitem__(self, key: str) -> Json:
        """Note the key and return its value. Raises KeyError."""
        self._reads[key] = None
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        """Note the key and tell whether it is there."""
        if isinstance(key, str):
            self._reads[key] = None
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        """Note every key: to know them all is to have read them all."""
        self._reads.update(dict.fromkeys(self._data))
        return iter(self._data)

    def __len__(self) -> int:
        """Note every key, likewise."""
        self._reads.update(dict.fromkeys(self._data))
        return len(self._data)

    def with_items(self, changes: Mapping[str, Json]) -> FrozenDict:
        """Return other data, which is not watched."""
        return self.source.with_items(changes)


class WatchedCache:
    """The parsed fields of the watched state, shared with it."""

    __slots__ = ("_cache", "_reads")

    def __init__(
        self, cache: dict[str, Any] | WatchedCache, reads: dict[str, None]
    ) -> None:
        """Take the state's own cache, and where to note keys."""
        self._cache = cache
        self._reads = reads

    def __getitem__(self, key: str) -> Any:
        """Note the key and return its value. Raises KeyError when it was not parsed yet."""
        self._reads[key] = None
        return self._cache[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Keep a parsed value for the state and everyone who watches it."""
        self._cache[key] = value
