"""Where states are kept between steps, so that a run can go on after a crash."""

from __future__ import annotations

import builtins
import threading
from typing import Any, Protocol, runtime_checkable

from .errors import CheckpointNotFound
from .names import Names
from .state import State

__all__ = ["CheckpointNotFound", "CheckpointStore", "KeepsItems", "MemoryStore", "Settles", "stores"]


class CheckpointStore(Protocol):
    """Keeps the newest state of each run."""

    def save(self, state: State) -> None:
        """Keep a state under its run id."""

    def load(self, run_id: str) -> State:
        """The newest state of a run. Raises CheckpointNotFound."""

    def delete(self, run_id: str) -> None:
        """Forget a run; one that is not there is fine."""

    def list(self) -> builtins.list[str]:
        """The ids of the runs that have a checkpoint."""


@runtime_checkable
class Settles(Protocol):
    """A store that writes later, and says when."""

    async def settle(self) -> None:
        """Return once everything saved and observed so far is durable."""


@runtime_checkable
class KeepsItems(Protocol):
    """A store that keeps each finished item of a parallel node."""

    def keep_item(self, run_id: str, sequence: int, index: int, value: Any) -> None:
        """Keep the result of one item of a step."""

    def kept_items(self, run_id: str, sequence: int) -> dict[int, Any]:
        """The results kept for a step, by index."""


class MemoryStore:
    """Keeps states in memory. States cannot change, so a reference is enough."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._items: dict[str, dict[int, dict[int, Any]]] = {}
        self._lock = threading.Lock()

    def save(self, state: State) -> None:
        """Keep a state under its run id."""
        with self._lock:
            self._states[state.run_id] = state

    def load(self, run_id: str) -> State:
        """The newest state of a run. Raises CheckpointNotFound."""
        with self._lock:
            if run_id not in self._states:
                raise CheckpointNotFound(run_id)
            return self._states[run_id]

    def delete(self, run_id: str) -> None:
        """Forget a run."""
        with self._lock:
            self._states.pop(run_id, None)
            self._items.pop(run_id, None)

    def list(self) -> builtins.list[str]:
        """The ids of the runs it knows, sorted."""
        with self._lock:
            return sorted(self._states)

    def keep_item(self, run_id: str, sequence: int, index: int, value: Any) -> None:
        """Keep the result of one item of a step."""
        with self._lock:
            self._items.setdefault(run_id, {}).setdefault(sequence, {})[index] = value

    def kept_items(self, run_id: str, sequence: int) -> dict[int, Any]:
        """The results kept for a step, by index."""
        with self._lock:
            return dict(self._items.get(run_id, {}).get(sequence, {}))


stores: Names[CheckpointStore] = Names("store")
stores.register("memory", MemoryStore())
