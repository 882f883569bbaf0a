"""Calls of author code with a time limit, one after another in a thread of their own.

A thread cannot be interrupted: a call that takes too long is abandoned with its thread, which ends
by itself or with the process, and the next call gets another thread. Code that never releases the
interpreter lock cannot be abandoned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, Self, TypeAlias, TypeVar

from .author_code import call_contained

Result = TypeVar("Result")
_Work: TypeAlias = "Callable[[], Any] | None"  # None ends the thread


class CallTimedOut(Exception):
    """A call took longer than its limit."""


class TimedCalls(Generic[Result]):
    """A thread that makes one call at a time, replaced when a call is abandoned."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is the limit of each call."""
        self._seconds = seconds
        self._begin()

    def _begin(self) -> None:
        self._work: SimpleQueue[_Work] = SimpleQueue()
        self._ends: SimpleQueue[tuple[Result | None, Exception | None]] = SimpleQueue()
        threading.Thread(
            target=_serve,
            args=(self._work, self._ends),
            name="timed calls",
            daemon=True,
        ).start()

    def call(self, work: Callable[[], Result]) -> Result:
        """Return the result of a call. Raises its Exception, or CallTimedOut."""
        self._work.put(work)
        try:
            result, error = self._ends.get(timeout=self._seconds)
        except Empty:
            self._work.put(None)  # for when the abandoned call returns
            self._begin()
            raise CallTimedOut from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # without an error it is one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End the thread."""
        self._work.put(None)


def _serve(work: SimpleQueue[_Work], ends: SimpleQueue[Any]) -> None:
    while (call := work.get()) is not None:
        try:
            ends.put((call_contained(call), None))
        except Exception as error:
            ends.put((None, error))
