"""An event loop that author code cannot end.

asyncio lets SystemExit and KeyboardInterrupt of any task or callback out of `run_forever`, which
ends every run of the process. The engine contains them where it calls author code; a task or a
callback that an author starts is out of its reach, so the loop goes on after them.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from .errors import describe

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class LastingLoop(asyncio.SelectorEventLoop):
    """A loop for `asyncio.Runner` whose main task alone decides when it is over."""

    def run_until_complete(
        self, future: Generator[Any, None, Result] | Awaitable[Result]
    ) -> Result:
        """What the future gives, whatever other tasks raise meanwhile."""
        task: asyncio.Future[Result] = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]  # as in asyncio: a generator is an error there, too
        while True:
            try:
                return super().run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as raised:
                if task.done():
                    return task.result()
                _log_or_raise(raised)


def run_lasting(run_forever: Callable[[], None]) -> None:
    """Run a loop that was made elsewhere until it is stopped, whatever its tasks raise."""
    while True:
        try:
            return run_forever()
        except (SystemExit, KeyboardInterrupt) as raised:
            _log_or_raise(raised)


def _log_or_raise(raised: BaseException) -> None:
    """Log what a task raised. Raises it again if it is a person's Ctrl-C."""
    if isinstance(raised, KeyboardInterrupt) and _keyboard_raises():
        raise raised
    logger.error(
        "Code on the event loop raised %s (%s); the loop goes on.",
        type(raised).__name__,
        describe(raised),
        exc_info=raised,
    )


def _keyboard_raises() -> bool:
    """Whether SIGINT would raise KeyboardInterrupt in this thread."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
