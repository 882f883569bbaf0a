"""Cancellation of a run: a thread-safe flag, and the interruption of the node that awaits.

A cancelled run stops where its node awaits, or before the next node or item. The task is
interrupted like in `asyncio.timeout` (cancel, then uncancel), so that a cancellation of the task
itself, when the server stops, can be distinguished and passes unchanged. An async node runs in a
separate task: if its code cancels the current task, or leaves it marked as cancelled like
`asyncio.TaskGroup` of Python 3.11, this is not mistaken for a stop of the server.
A node that catches the interruption and continues is interrupted again every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .errors import Cancelled, DeadlinePassed

REPEAT_SECONDS = (
    5.0  # until a node that continues after an interruption is interrupted again
)


class Cancellation:
    """A request to stop. Thread-safe; cannot be revoked."""

    __slots__ = ("_cause", "_listeners", "_lock", "_reason", "_stopped")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Cancellation], None]] = []
        self._stopped = False
        self._reason = ""
        self._cause: type[Cancelled | DeadlinePassed] = Cancelled

    def cancel(self, reason: str = "") -> None:
        """Request that the run stops; later calls have no effect."""
        self._stop(Cancelled, reason)

    def expire(self, reason: str = "the run's deadline has passed") -> None:
        """Stop the run because of its deadline."""
        self._stop(DeadlinePassed, reason)

    @property
    def cancelled(self) -> bool:
        """Whether the run has to stop, for any reason."""
        return self._stopped

    @property
    def expired(self) -> bool:
        """Whether the run has to stop because of its deadline."""
        return self._stopped and self._cause is DeadlinePassed

    @property
    def reason(self) -> str:
        """The reason as text; may be empty."""
        return self._reason

    def error(self) -> Cancelled | DeadlinePassed:
        """Return the signal to raise in the run."""
        return self._cause(self._reason)

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled or DeadlinePassed if the run has to stop."""
        if self._stopped:
            raise self.error()

    @contextlib.contextmanager
    def child(self) -> Iterator[Cancellation]:
        """Create a cancellation for a part of the run, which also follows this one."""
        child = Cancellation()
        with self.subscribed(child._follow):
            yield child

    @contextlib.contextmanager
    def subscribed(self, listener: Callable[[Cancellation], None]) -> Iterator[None]:
        """Call `listener` once on cancellation, in the thread that cancels."""
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

    @contextlib.contextmanager
    def expiring(self, seconds: float | None) -> Iterator[None]:
        """Call `expire` after that time, unless it is None or the context was left before."""
        if seconds is None:
            yield
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(seconds, 0), self.expire)
        try:
            yield
        finally:
            timer.cancel()

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
    """Cancels a task at its next await while it is open and the run is cancelled.

    1. Call `open()` in the task to interrupt, and `close()` at its end in any case.
    2. On cancellation the loop cancels the task once it waits, never while it runs; a node
       that does not await again is not interrupted. A node that catches the error and continues
       is interrupted again every REPEAT_SECONDS.
    3. `close()` revokes the request and returns whether there was one.
    4. `cancelled_externally` detects a cancellation of the task itself, which has to pass.
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
                "A run needs a task, through which it is interrupted: start it in one."
            )
        self._task: asyncio.Task[object] = task
        self._loop = asyncio.get_running_loop()
        self._cancellation = cancellation
        self._target: asyncio.Task[Any] = self._task
        self._initial_cancelling = task.cancelling()
        self._is_open = False
        self._sent = 0  # cancellations of the task by this object
        self._repeat_timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[Interruption]:
        """Interrupt the open task when the run is cancelled."""
        with self._cancellation.subscribed(self._on_cancel):
            yield self

    def open(self) -> None:
        """Allow interruptions of the current task."""
        self._target = asyncio.current_task() or self._task
        self._is_open, self._sent = True, 0
        if self._cancellation.cancelled:
            self._loop.call_soon(self._interrupt)

    def close(self) -> bool:
        """End the interruptions; return whether there was one."""
        self._is_open = False
        if self._repeat_timer is not None:
            self._repeat_timer.cancel()
            self._repeat_timer = None
        for _ in range(self._sent):
            self._target.uncancel()
        return self._sent > 0

    @property
    def cancelled_externally(self) -> bool:
        """Whether the task itself is being cancelled; valid after `close`."""
        return self._task.cancelling() > self._initial_cancelling

    def _on_cancel(self, _cancellation: Cancellation) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no task waits
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


# Tasks that are stopping and wait for work that cannot be interrupted: a thread, their items.
_waiting_for_work: set[asyncio.Task[object]] = set()


@contextlib.contextmanager
def no_repeated_interruption() -> Iterator[None]:
    """Protect the current task, which was interrupted, from further interruptions."""
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
    """Cancel a task, and repeat this every REPEAT_SECONDS until it has ended."""
    if task.done():
        return
    if task not in _waiting_for_work:
        task.cancel()
    timer = asyncio.get_running_loop().call_later(
        REPEAT_SECONDS, cancel_until_done, task
    )
    task.add_done_callback(lambda _: timer.cancel())
