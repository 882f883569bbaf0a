"""An event loop in simulated time, for several simulated processes in one thread."""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EPOCH = 1_900_000_000.0  # Unix time at which every schedule begins


Waiting = tuple[Callable[..., object], tuple[object, ...], contextvars.Context]


@dataclass(eq=False)
class Process:
    """A simulated process: a name, whether it executes, and its skewed clock."""

    name: str
    is_alive: bool = True
    is_stopped: bool = False  # as by SIGSTOP: its callbacks wait
    callbacks: int = 0  # executed so far
    crash_at: int = 0  # the number of the callback before which it crashes; 0 = none
    on_crash: Callable[[], None] = lambda: None
    children: list[Process] = field(default_factory=list)  # end with this process
    waiting: list[Waiting] = field(
        default_factory=list
    )  # callbacks while it is stopped


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar(
    "simulated_process", default=None
)


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: the time of the loop jumps to the next timer."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        """Advance the time of the loop by `timeout`. Raises RuntimeError on a deadlock."""
        if timeout is None:
            raise RuntimeError("No task of the simulation can continue.")
        self._loop.elapsed += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Executes callbacks in order; those of a crashed process are dropped."""

    def __init__(self) -> None:
        self.elapsed = 0.0  # simulated seconds since the beginning
        super().__init__(_JumpingSelector(self))
        self._clock_resolution = 1e-6

    def add_signal_handler(self, *_: object) -> None:
        """Do nothing: no signal is sent."""

    def time(self) -> float:
        """Return the simulated monotonic time."""
        return self.elapsed

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback of the process in whose context it is called."""
        context = context or contextvars.copy_context()
        return super().call_soon(_guarded(callback, context), *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Do the same as `call_soon`: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Any,
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule a callback for a time."""
        context = context or contextvars.copy_context()
        return super().call_at(
            when, _guarded(callback, context), *args, context=context
        )


def _guarded(
    callback: Callable[..., object], context: contextvars.Context
) -> Callable[..., object]:
    """Return the callback, which does nothing once its process has crashed."""
    process = context.get(PROCESS)
    if process is None:
        return callback

    def guarded(*args: object) -> None:
        if not process.is_alive:
            return
        if process.is_stopped:
            process.waiting.append((callback, args, context))
            return
        process.callbacks += 1
        if process.callbacks == process.crash_at:
            process.on_crash()
            return
        callback(*args)

    return guarded
