"""The child process of a suspected run, as a simulated process."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import PROCESS, Process
from workflows.engine.process_limits import ProcessEnd
from workflows.execution.suspect_process import SuspectRun
from workflows.models import Run

if TYPE_CHECKING:
    from tests.simulation.world import World

CRASH_SHARE = 0.15  # of the children
START_SECONDS = 1.0  # at most
MAX_CALLBACKS = 120  # of a child before it crashes
KILLED = ProcessEnd(-9)


class Suspect(SuspectRun):
    """The product's execution, whose pipe to the worker is a function."""

    def __init__(self, run: Run, send: Callable[[str | int], None]) -> None:
        super().__init__(run, -1)
        self._send = send

    def _write(self, message: str | int) -> None:
        self._send(message)


class Child:
    """A simulated process that executes one run."""

    def __init__(
        self, world: World, run: Run, on_version: Callable[[int], None]
    ) -> None:
        self._world = world
        self.run = run
        self.is_ready = False
        self.ended: Future[ProcessEnd] = Future()
        self._on_version = on_version
        self._process = Process(f"child-of-{run.pk.hex[-4:]}")
        self._process.on_crash = self._crash
        self._parent = PROCESS.get()
        self._messages: list[tuple[str, str]] = []
        self._suspect: Any = None

    def start(self) -> None:
        """Start the process after a delay, or fail to start it."""
        delay = self._world.random.random() * START_SECONDS
        if self._world.happens("failed start"):
            self._world.loop.call_later(delay, self._end, OSError("simulated"))
            return
        if self._world.random.random() < CRASH_SHARE:
            self._process.crash_at = self._world.random.randint(1, MAX_CALLBACKS)
        if self._parent is not None:
            self._parent.children.append(self._process)
        free = contextvars.Context()
        self._world.loop.call_later(delay, self._begin, context=free)

    def drain(self) -> None:
        """Request the release of the run."""
        self._send("drain")

    def cancel(self, reason: str) -> None:
        """Request the cancellation of the run."""
        self._send("cancel", reason)

    def kill(self) -> None:
        """Kill the process."""
        if self._process.is_alive:
            self._crash()

    def _send(self, name: str, value: str = "") -> None:
        self._messages.append((name, value))
        free = contextvars.Context()
        self._world.loop.call_later(self._world.latency(), self._deliver, context=free)

    def _deliver(self) -> None:
        if self._suspect is None or not self._process.is_alive:
            return
        for name, value in self._messages:
            if name == "drain":
                self._suspect._drain()  # noqa: SLF001 - as its reader does
            else:
                self._suspect._held.cancel(self.run.pk, value)  # noqa: SLF001
        self._messages.clear()

    def _begin(self) -> None:
        if self._process.is_alive:
            self._world.start(self._process, self._execute)

    async def _execute(self) -> None:
        claimed = Run(pk=self.run.pk, attempt=self.run.attempt, worker=self.run.worker)
        self._suspect = Suspect(claimed, self._receive_message)
        self._deliver()
        await self._suspect.execute()
        self._end(ProcessEnd(0))

    def _receive_message(self, message: str | int) -> None:
        if message == "ready":
            self.is_ready = True
        else:
            self._on_version(int(message))

    def _crash(self) -> None:
        self._world.crash(self._process)
        self._end(KILLED)

    def _end(self, end: ProcessEnd | OSError) -> None:
        self._process.is_alive = False
        free = contextvars.Context()  # the end reaches a parent that is alive
        if self.ended.done():
            return
        if isinstance(end, OSError):
            free.run(self.ended.set_exception, end)
        else:
            free.run(self.ended.set_result, end)


class Exits:
    """`os` for a child: its `_exit` ends the simulated process."""

    EX_TEMPFAIL = os.EX_TEMPFAIL
    EX_UNAVAILABLE = os.EX_UNAVAILABLE

    @staticmethod
    def _exit(_: int) -> None:
        process = PROCESS.get()
        assert process is not None
        process.on_crash()
