"""Registries of objects by name, for configurations that contain names only."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from .errors import ConfigurationError

Registered = TypeVar("Registered")


class Registry(Generic[Registered]):
    """A registry; safe to use from any thread."""

    def __init__(self, kind: str) -> None:
        """`kind` is the noun in messages: “observer”, “store”."""
        self._kind = kind
        self._by_name: dict[str, Registered] = {}
        self._lock = threading.Lock()

    def register(self, name: str, item: Registered) -> None:
        """Register or replace an object. Raises ConfigurationError for an empty name."""
        if not name:
            raise ConfigurationError(
                f"The {self._kind} {item!r} cannot be registered without a name.",
                code="config.empty_name",
            )
        with self._lock:
            self._by_name[name] = item

    def unregister(self, name: str) -> None:
        """Remove a name, if it is registered."""
        with self._lock:
            self._by_name.pop(name, None)

    def get(self, name: str) -> Registered:
        """Return the object of that name. Raises ConfigurationError."""
        with self._lock:
            if name in self._by_name:
                return self._by_name[name]
            known = ", ".join(sorted(self._by_name)) or "none"
        raise ConfigurationError(
            f"No {self._kind} is called “{name}”: register it, or use one of these: {known}.",
            code=f"unknown_{self._kind}",
        )

    def list(self) -> list[str]:
        """Return all names, sorted."""
        with self._lock:
            return sorted(self._by_name)
