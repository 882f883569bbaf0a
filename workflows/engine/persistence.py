"""The checkpoint store of one attempt, with the optional protocols that it implements."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from .checkpoints import (
    CallbackOpener,
    FlushingStore,
    ItemFailureStore,
    ItemStore,
    PauseChecker,
    ReleasingStore,
    TryStore,
)

if TYPE_CHECKING:
    from .checkpoints import CheckpointStore
    from .config import CheckpointConfig
    from .context import NodeContext
    from .errors import Paused
    from .state import State

logger = logging.getLogger(__name__)


class Persistence:
    """Saves the states of one attempt; a capability that the store lacks does nothing."""

    def __init__(self, store: CheckpointStore | None, config: CheckpointConfig) -> None:
        self._store = store
        self._interval = config.interval
        self._preserve = config.preserve
        self._saved_sequence = -1  # of the newest checkpoint of this attempt
        capable: Any = store
        kind: Any = type(store)
        capabilities = _capabilities(kind)
        self._flushing: FlushingStore | None = (
            capable if FlushingStore in capabilities else None
        )
        self._pause_checker: PauseChecker | None = (
            capable if PauseChecker in capabilities else None
        )
        self._try_store: TryStore | None = capable if TryStore in capabilities else None
        self._callback_opener: CallbackOpener | None = (
            capable if CallbackOpener in capabilities else None
        )
        self._releasing: ReleasingStore | None = (
            capable if ReleasingStore in capabilities else None
        )
        has_items = ItemStore in capabilities and self._interval
        self._item_store: ItemStore | None = capable if has_items else None
        self._failures: ItemFailureStore | None = (
            capable if ItemFailureStore in capabilities else None
        )

    def continue_after(self, state: State) -> None:
        """Treat a state that was loaded from the store as saved."""
        self._saved_sequence = state.sequence

    @property
    def needs_initial_save(self) -> bool:
        """Whether the state before the first step has to be saved: it was not loaded."""
        return bool(self._interval) and self._saved_sequence < 0

    def is_due(self, iteration: int) -> bool:
        """Return whether the state after this step has to be saved."""
        return bool(self._interval) and iteration % self._interval == 0

    def is_saved(self, state: State) -> bool:
        """Return whether a state is saved already, or never is."""
        return not self._interval or self._saved_sequence == state.sequence

    def save(self, state: State) -> None:
        """Save a state. Raises any error of the store."""
        if self._store is not None:
            self._store.save(state)
            self._saved_sequence = state.sequence

    async def flush(self) -> None:
        """Return once everything saved and observed so far is durable."""
        if self._flushing is not None:
            await self._flushing.flush()

    @property
    def flushes(self) -> bool:
        """Whether there is anything to wait for in `flush`."""
        return self._flushing is not None

    async def check_pause(self, pause: Paused) -> None:
        """Return if the run may wait for this. Raises the error with which the node fails."""
        if self._pause_checker is not None:
            await self._pause_checker.check_pause(pause)

    @property
    def is_draining(self) -> bool:
        """Whether the run has to be released before its next step."""
        return self._releasing is not None and self._releasing.is_draining()

    async def release_step(self) -> None:
        """Release the run in the middle of a step. Raises Superseded."""
        if self._releasing is not None:
            await self._releasing.release_step()

    def delete(self, run_id: str) -> None:
        """Delete the checkpoints of a completed run unless they are preserved; log errors."""
        if not self._interval or self._store is None or self._preserve:
            return
        try:
            self._store.delete(run_id)
        except Exception:
            logger.exception("The checkpoints of run %s could not be deleted", run_id)

    def restore(self, context: NodeContext) -> None:
        """Give a node what earlier attempts stored for its step, and addresses for callbacks."""
        if self._item_store is not None:
            step = (context.run_id, context.sequence)
            context.save_item = functools.partial(self._item_store.save_item, *step)
            context.saved_items = functools.partial(self._item_store.saved_items, *step)
        if self._failures is not None:
            step = (context.run_id, context.sequence)
            context.fail_item = functools.partial(self._failures.fail_item, *step)
        if self._callback_opener is not None:
            context.open_callback = self._callback_opener.open_callback
        if self._try_store is not None:
            made, delay = self._try_store.saved_tries(context.run_id, context.sequence)
            context.try_number, context.try_after = made + 1, delay


_PROTOCOLS = (
    FlushingStore,
    ItemFailureStore,
    ItemStore,
    TryStore,
    PauseChecker,
    CallbackOpener,
    ReleasingStore,
)


@functools.lru_cache(maxsize=1_000)
def _capabilities(store: type) -> frozenset[type]:
    """Return the optional protocols of a store; cached, as the check takes longer than a step."""
    return frozenset(each for each in _PROTOCOLS if issubclass(store, each))
