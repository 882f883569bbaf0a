"""An event loop that author code cannot end.

asyncio lets SystemExit and KeyboardInterrupt of any task or callback escape from `run_forever`,
which ends all runs of the process. The engine contains them in its calls of author code, but not
in tasks and callbacks that author code starts, so the loop continues after them.
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


class ResilientLoop(asyncio.SelectorEventLoop):
    """A loop for `asyncio.Runner` that ends only with its main task."""

    def run_until_complete(
        self, future: Generator[Any, None, Result] | Awaitable[Result]
    ) -> Result:
        """Return the result of the future, even if other tasks raise SystemExit."""
        task: asyncio.Future[Result] = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]  # as in asyncio: a generator is an error there, too
        while True:
            try:
                return super().run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as raised:
                if task.done():
                    return task.result()
                _log_or_raise(raised)


def run_resilient(run_forever: Callable[[], None]) -> None:
    """Run the loop of another library until it is stopped, even if tasks raise SystemExit."""
    while True:
        try:
            return run_forever()
        except (SystemExit, KeyboardInterrupt) as raised:
            _log_or_raise(raised)


def _log_or_raise(raised: BaseException) -> None:
    """Log the error of a task, or raise it if it is a Ctrl-C of a person."""
    if isinstance(raised, KeyboardInterrupt) and _keyboard_raises():
        raise raised
    logger.error(
        "Code on the event loop raised %s (%s); the loop continues.",
        type(raised).__name__,
        describe(raised),
        exc_info=raised,
    )


def _keyboard_raises() -> bool:
    """Return whether SIGINT raises KeyboardInterrupt in this thread."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
