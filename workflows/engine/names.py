"""Things by name, for configurations that can only give names."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from .errors import ConfigurationError

Thing = TypeVar("Thing")


class Names(Generic[Thing]):
    """A registry; safe to use from any thread."""

    def __init__(self, kind: str) -> None:
        """Take what the things are called, e.g. “observer”."""
        self._kind = kind
        self._things: dict[str, Thing] = {}
        self._lock = threading.Lock()

    def register(self, name: str, thing: Thing) -> None:
        """Put a thing under a name, in place of what was there."""
        if not name:
            raise ConfigurationError(
                f"The {self._kind} needs a name.", code=f"unknown_{self._kind}"
            )
        with self._lock:
            self._things[name] = thing

    def get(self, name: str) -> Thing:
        """The thing of that name. Raises ConfigurationError."""
        with self._lock:
            if name in self._things:
                return self._things[name]
            known = ", ".join(sorted(self._things))
        raise ConfigurationError(
            f"No {self._kind} is called “{name}”: register it, or use one of {known}.",
            code=f"unknown_{self._kind}",
        )

    def list(self) -> list[str]:
        """All names, sorted."""
        with self._lock:
            return sorted(self._things)
