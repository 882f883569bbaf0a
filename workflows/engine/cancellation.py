"""Stopping a run: a flag anyone may raise, from any thread, and the interruption of what awaits.

A cancelled run stops where its node awaits, or before the next node or item. The run's own task is
interrupted as `asyncio.timeout` does it (cancel, then uncancel), so that a real cancellation of the
task, a server that stops, is still told apart and passes untouched. A node runs in a task of its
own within: what its code does to the task it finds itself in (cancel it, leave it marked as
cancelled, as `asyncio.TaskGroup` of Python 3.11 does) is then not taken for such a stop.
A node that catches the interruption and continues is interrupted again every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .errors import Cancelled, DeadlinePassed

REPEAT_SECONDS = 5.0  # after which a node that was interrupted and goes on is, again


class Cancellation:
    """A request to stop. Thread-safe; raised once, never taken back."""

    __slots__ = ("_cause", "_listeners", "_lock", "_reason", "_stopped")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Cancellation], None]] = []
        self._stopped = False
        self._reason = ""
        self._cause: type[Cancelled | DeadlinePassed] = Cancelled

    def cancel(self, reason: str = "") -> None:
        """Ask the run to stop; later calls change nothing."""
        self._stop(Cancelled, reason)

    def expire(self, reason: str = "the run's deadline has passed") -> None:
        """Stop the run because its time is up."""
        self._stop(DeadlinePassed, reason)

    @property
    def cancelled(self) -> bool:
        """Whether the run has to stop, for whichever reason."""
        return self._stopped

    @property
    def expired(self) -> bool:
        """Whether it has to stop because of its deadline."""
        return self._stopped and self._cause is DeadlinePassed

    @property
    def reason(self) -> str:
        """Why, in words; empty when no one said."""
        return self._reason

    def error(self) -> Cancelled | DeadlinePassed:
        """The signal that tells why the run stops."""
        return self._cause(self._reason)

    def raise_if_cancelled(self) -> None:
        """Raises Cancelled or DeadlinePassed once the run has to stop."""
        if self._stopped:
            raise self.error()

    @contextlib.contextmanager
    def child(self) -> Iterator[Cancellation]:
        """A cancellation of its own that also follows this one, for a part of the run."""
        child = Cancellation()
        with self.subscribed(child._follow):
            yield child

    @contextlib.contextmanager
    def subscribed(self, listener: Callable[[Cancellation], None]) -> Iterator[None]:
        """Within, `listener` is called once on cancellation, in the canceller's thread."""
        with self._lock:
            stopped = self._stopped
            self._listeners.append(listener)
        if stopped:
            listener(self)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def _follow(self, parent: Cancellation) -> None:
        self._stop(parent._cause, parent._reason)

    def _stop(self, cause: type[Cancelled | DeadlinePassed], reason: str) -> None:
        with self._lock:
            if self._stopped:
                return
            self._cause, self._reason, self._stopped = cause, reason, True
            listeners = list(self._listeners)
        for listener in listeners:
            listener(self)


class Interruption:
    """Throws a cancellation into a task while it is open, at the next await.

    1. `open()` in the task that is to be interrupted, `close()` once it is over, whatever happened.
    2. Cancelled meanwhile: the loop cancels the task once it waits, never while it runs; a node
       that does not await again is not interrupted. One that catches it and goes on is
       interrupted again after REPEAT_SECONDS, and so on.
    3. `close()` takes the request back and returns whether there was one.
    4. `cancelled_externally` tells a cancellation of the task itself from ours: let that one pass.
    """

    __slots__ = (
        "_cancellation",
        "_initial_cancelling",
        "_is_open",
        "_loop",
        "_repeat_timer",
        "_sent",
        "_target",
        "_task",
    )

    def __init__(self, cancellation: Cancellation) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError(
                "A run is interrupted through its task: start it within one."
            )
        self._task: asyncio.Task[object] = task
        self._loop = asyncio.get_running_loop()
        self._cancellation = cancellation
        self._target: asyncio.Task[Any] = self._task
        self._initial_cancelling = task.cancelling()
        self._is_open = False
        self._sent = 0  # cancellations of the task that are ours
        self._repeat_timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[Interruption]:
        """Within, a cancellation reaches whatever is open at that time."""
        with self._cancellation.subscribed(self._on_cancel):
            yield self

    def open(self) -> None:
        """From now on the current task may be interrupted."""
        self._target = asyncio.current_task() or self._task
        self._is_open, self._sent = True, 0
        if self._cancellation.cancelled:
            self._loop.call_soon(self._interrupt)

    def close(self) -> bool:
        """No longer; returns whether it was."""
        self._is_open = False
        if self._repeat_timer is not None:
            self._repeat_timer.cancel()
            self._repeat_timer = None
        for _ in range(self._sent):
            self._target.uncancel()
        return self._sent > 0

    @property
    def cancelled_externally(self) -> bool:
        """Whether the task itself is being cancelled; ask after `close`."""
        return self._task.cancelling() > self._initial_cancelling

    def _on_cancel(self, _cancellation: Cancellation) -> None:
        with contextlib.suppress(
            RuntimeError
        ):  # the loop is closed: nothing waits any more
            self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._is_open and not self._sent:
            self._cancel_task()

    def _cancel_task(self) -> None:
        if self._target.done():
            return
        if self._target not in _waiting_for_work:
            self._sent += 1
            self._target.cancel()
        self._repeat_timer = self._loop.call_later(REPEAT_SECONDS, self._cancel_task)


# Tasks that stop as asked and wait for what cannot be interrupted: a thread, their items.
_waiting_for_work: set[asyncio.Task[object]] = set()


@contextlib.contextmanager
def no_repeated_interruption() -> Iterator[None]:
    """Within, the current task was interrupted and is not again, except from outside."""
    task = asyncio.current_task()
    if task is None or task in _waiting_for_work:
        yield
        return
    _waiting_for_work.add(task)
    try:
        yield
    finally:
        _waiting_for_work.discard(task)


def cancel_until_done(task: asyncio.Task[None]) -> None:
    """Cancel a task, again every REPEAT_SECONDS until it has ended."""
    if task.done():
        return
    if task not in _waiting_for_work:
        task.cancel()
    timer = asyncio.get_running_loop().call_later(
        REPEAT_SECONDS, cancel_until_done, task
    )
    task.add_done_callback(lambda _: timer.cancel())
