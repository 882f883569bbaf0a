"""Where states are kept between steps, so that a run can go on after a crash."""

from __future__ import annotations

import builtins
import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .errors import CheckpointNotFound
from .frozen import Json, freeze
from .registry import Registry
from .state import State

if TYPE_CHECKING:
    from .errors import Paused

__all__ = [
    "CheckpointNotFound",
    "CheckpointStore",
    "FlushingStore",
    "ItemStore",
    "MemoryStore",
    "PauseChecker",
    "TryStore",
    "stores",
]


class CheckpointStore(Protocol):
    """Keeps the newest state of each run, without its secrets."""

    def save(self, state: State) -> None:
        """Keep a state under its run id, in place of the one before."""

    def load(self, run_id: str) -> State:
        """Return the newest state of a run. Raises CheckpointNotFound."""

    def delete(self, run_id: str) -> None:
        """Forget a run; one that is not there is fine."""

    def list(self) -> builtins.list[str]:
        """Return the ids of the runs that have a checkpoint."""


@runtime_checkable
class FlushingStore(Protocol):
    """A store or observer that writes later, and says when."""

    async def settle(self) -> None:
        """Return once everything saved and observed so far is durable."""


@runtime_checkable
class ItemStore(Protocol):
    """A store that keeps each finished item of a parallel node."""

    def keep_item(self, run_id: str, sequence: int, index: int, value: Json) -> None:
        """Keep the result of one item of a step."""

    def kept_items(self, run_id: str, sequence: int) -> dict[int, Json]:
        """Return the results kept for a step, by index."""


@runtime_checkable
class TryStore(Protocol):
    """A store that knows of the tries an interrupted attempt made."""

    def kept_tries(self, run_id: str, sequence: int) -> tuple[int, float]:
        """Return the tries of a step that failed, and the seconds until the next is due."""


@runtime_checkable
class PauseChecker(Protocol):
    """A store that knows what a run may wait for."""

    async def check_pause(self, pause: Paused) -> None:
        """Return if the run may wait for this. Raises what the node then fails with."""


class MemoryStore:
    """Keeps states in memory. States cannot change, so a reference is enough."""

    def __init__(self) -> None:
        """Start empty."""
        self._states: dict[str, State] = {}
        self._items: dict[str, dict[int, dict[int, Json]]] = {}
        self._lock = threading.Lock()

    def save(self, state: State) -> None:
        """Keep a state under its run id; items of steps that it completes are forgotten."""
        stored = (
            state.without_secrets()
        )  # another object: nothing parsed from it is shared
        with self._lock:
            self._states[state.run_id] = stored
            if state.run_id in self._items:
                self._forget_items(state.run_id, state.sequence)

    def load(self, run_id: str) -> State:
        """Return the newest state of a run. Raises CheckpointNotFound."""
        with self._lock:
            if run_id not in self._states:
                raise CheckpointNotFound(run_id)
            return self._states[run_id].clone()

    def delete(self, run_id: str) -> None:
        """Forget a run and its items."""
        with self._lock:
            self._states.pop(run_id, None)
            self._items.pop(run_id, None)

    def list(self) -> builtins.list[str]:
        """Return the ids of the runs it knows, sorted."""
        with self._lock:
            return sorted(self._states)

    def keep_item(self, run_id: str, sequence: int, index: int, value: Json) -> None:
        """Keep the result of one item of a step. Raises NotSerialisable."""
        frozen = freeze(value)
        with self._lock:
            self._items.setdefault(run_id, {}).setdefault(sequence, {})[index] = frozen

    def kept_items(self, run_id: str, sequence: int) -> dict[int, Json]:
        """Return the results kept for a step, by index."""
        with self._lock:
            return dict(self._items.get(run_id, {}).get(sequence, {}))

    def _forget_items(self, run_id: str, sequence: int) -> None:
        items = self._items[run_id]
        for done in [step for step in items if step <= sequence]:
            del items[done]


stores: Registry[CheckpointStore] = Registry("store")
stores.register("memory", MemoryStore())
