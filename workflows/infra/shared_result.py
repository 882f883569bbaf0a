"""A result that is set later, and that a waiting task can be cancelled without."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

Result = TypeVar("Result")


class SharedResult(Generic[Result]):
    """A result for any number of tasks of one event loop. Not thread-safe.

    Like a future behind `asyncio.shield`: the cancellation of a waiting task reaches only
    that task. It costs one future per waiting task, and none if the result is there;
    a shield costs another future, two callbacks and a turn of the loop.
    """

    __slots__ = ("_result", "_waiting", "error", "is_set", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_set = False
        self._result: Result | None = None
        self.error: BaseException | None = None  # set instead of a result
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def result(self) -> Result:
        """The result; call it only if one was set."""
        return self._result  # type: ignore[return-value]  # it is set

    def set(self, result: Result) -> None:
        """Set the result and let the waiting tasks continue."""
        self._result = result
        self._continue()

    def fail(self, error: BaseException) -> None:
        """Raise this error in the waiting tasks instead."""
        self.error = error
        self._continue()

    def _continue(self) -> None:
        self.is_set = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def __await__(self) -> Generator[object, None, Result]:
        """Return the result once it is set, or raise the error."""
        if not self.is_set:
            waiter = self.loop.create_future()
            self._waiting.append(waiter)
            yield from waiter
        if self.error is not None:
            raise self.error
        return self.result
