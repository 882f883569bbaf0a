"""Stores of states between steps, from which a run continues after a crash."""

from __future__ import annotations

import builtins
import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .errors import CheckpointNotFound
from .frozen import Json, freeze
from .registry import Registry
from .state import State

if TYPE_CHECKING:
    from datetime import datetime

    from .context import NodeContext
    from .errors import Paused

__all__ = [
    "CallbackOpener",
    "CheckpointNotFound",
    "CheckpointStore",
    "FlushingStore",
    "ItemFailureStore",
    "ItemStore",
    "MemoryStore",
    "PauseChecker",
    "TryStore",
    "stores",
]


class CheckpointStore(Protocol):
    """Stores the newest state of each run, without its secrets."""

    def save(self, state: State) -> None:
        """Store a state under its run ID, replacing the one before."""

    def load(self, run_id: str) -> State:
        """Return the newest state of a run. Raises CheckpointNotFound."""

    def delete(self, run_id: str) -> None:
        """Delete the state of a run, if there is one."""

    def list(self) -> builtins.list[str]:
        """Return the IDs of the runs that have a checkpoint."""


@runtime_checkable
class FlushingStore(Protocol):
    """A store or observer that writes asynchronously."""

    async def flush(self) -> None:
        """Return once everything saved and observed so far is durable."""


@runtime_checkable
class ItemStore(Protocol):
    """A store of the finished items of parallel nodes."""

    def save_item(self, run_id: str, sequence: int, index: int, value: Json) -> None:
        """Store the result of one item of a step."""

    def saved_items(self, run_id: str, sequence: int) -> dict[int, Json]:
        """Return the stored results of a step, by index."""


@runtime_checkable
class ItemFailureStore(Protocol):
    """A store that records why items of parallel nodes failed."""

    def fail_item(
        self, run_id: str, sequence: int, index: int, error: BaseException
    ) -> None:
        """Record the error of one item of a step, after its last try."""


@runtime_checkable
class TryStore(Protocol):
    """A store of the tries that an interrupted attempt made."""

    def saved_tries(self, run_id: str, sequence: int) -> tuple[int, float]:
        """Return the number of failed tries of a step, and the seconds until the next one."""


@runtime_checkable
class PauseChecker(Protocol):
    """A store that decides whether a run may wait for something."""

    async def check_pause(self, pause: Paused) -> None:
        """Return if the run may wait for this. Raises the error with which the node fails."""


@runtime_checkable
class ReleasingStore(Protocol):
    """A store whose worker can ask for the run between the steps of branches."""

    def is_draining(self) -> bool:
        """Return whether the run has to be released before its next step."""

    async def release_step(self) -> None:
        """Release the run in the middle of a step. Raises Superseded."""


@runtime_checkable
class CallbackOpener(Protocol):
    """A store that makes the addresses of callbacks."""

    async def open_callback(self, context: NodeContext, until: datetime | None) -> str:
        """Return the address at which the node's run can be called back until that time.

        "" if a message has arrived at it already.
        """


class MemoryStore:
    """Stores states in memory. They are immutable, so no copy is needed."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._items: dict[str, dict[int, dict[int, Json]]] = {}
        self._lock = threading.Lock()

    def save(self, state: State) -> None:
        """Store a state under its run ID; delete the items of the steps that it completes."""
        stored = (
            state.without_secrets()
        )  # a separate object, so that no parsed values are shared
        with self._lock:
            self._states[state.run_id] = stored
            if state.run_id in self._items:
                self._discard_items(state.run_id, state.sequence)

    def load(self, run_id: str) -> State:
        """Return the newest state of a run. Raises CheckpointNotFound."""
        with self._lock:
            if run_id not in self._states:
                raise CheckpointNotFound(run_id)
            return self._states[run_id].clone()

    def delete(self, run_id: str) -> None:
        """Delete a run and its items."""
        with self._lock:
            self._states.pop(run_id, None)
            self._items.pop(run_id, None)

    def list(self) -> builtins.list[str]:
        """Return the IDs of the stored runs, sorted."""
        with self._lock:
            return sorted(self._states)

    def save_item(self, run_id: str, sequence: int, index: int, value: Json) -> None:
        """Store the result of one item of a step. Raises NotSerialisable."""
        frozen = freeze(value)
        with self._lock:
            self._items.setdefault(run_id, {}).setdefault(sequence, {})[index] = frozen

    def saved_items(self, run_id: str, sequence: int) -> dict[int, Json]:
        """Return the stored results of a step, by index."""
        with self._lock:
            return dict(self._items.get(run_id, {}).get(sequence, {}))

    def _discard_items(self, run_id: str, sequence: int) -> None:
        items = self._items[run_id]
        for done in [step for step in items if step <= sequence]:
            del items[done]


stores: Registry[CheckpointStore] = Registry("store")
stores.register("memory", MemoryStore())
