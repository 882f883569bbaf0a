"""A thread that notices when a node loop is blocked, by which node, and for how long.

The loop is asked for a response twenty times a second while it has runs. What asyncio offers
for this, its debug mode, costs every step and reports a callback only after its end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings

from workflows.engine.context import context_of_task

if TYPE_CHECKING:
    from workflows.execution.node_loop import NodeLoop

PERIOD_SECONDS = 0.05  # between two requests
NAMED_SECONDS = 0.2  # without a response, after which a node is suspected
CONFIRM_SECONDS = 0.05  # in which a suspected node has to be the only one that executes
CERTAIN_SECONDS = 1.0  # that no iteration of a busy loop takes without a node's fault
BLOCKED_SECONDS = 3.0  # after which the logs of all runs of the loop get a line
STEP_SECONDS = 0.25  # of the watch while a loop is blocked
IDLE_SECONDS = 1.0  # between two checks whether to end while the loop has no runs


@dataclass(frozen=True, slots=True)
class Blocked:
    """A period in which a loop was or is blocked."""

    since: float  # on the monotonic clock
    run_id: str = ""  # of the node that blocks it; "" for code outside of nodes
    node: str = ""

    @property
    def seconds(self) -> float:
        """The seconds until now."""
        return time.monotonic() - self.since


class Blockages(Protocol):
    """What is to be done about blocked loops. Called in the thread of the watch."""

    def name(self, blocked: Blocked) -> None:
        """A node has held the loop for a quarter of a second."""

    def report(self, nodes: NodeLoop, blocked: Blocked) -> None:
        """The loop is blocked for BLOCKED_SECONDS, and other runs have to wait."""

    def end(self, nodes: NodeLoop, blocked: Blocked) -> None:
        """The loop responds again."""

    def give_up(self, nodes: NodeLoop, blocked: Blocked) -> None:
        """The loop is blocked for BLOCKED_LOOP_SECONDS: it is not watched any more."""


class LoopWatch:
    """Watches one node loop until it ends or is given up."""

    def __init__(self, nodes: NodeLoop, blockages: Blockages) -> None:
        self._nodes = nodes
        self._blockages = blockages
        self._ended = threading.Event()
        self._responded = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name=f"{nodes.name}-watch", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _serve(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            while not self._ended.wait(PERIOD_SECONDS):
                if self._nodes.wait_until_busy(IDLE_SECONDS) and not self._check():
                    return

    def _check(self) -> bool:
        """Return False if the loop was given up."""
        since = time.monotonic()
        # a new one: a response to an earlier request must not count
        self._responded = responded = threading.Event()
        self._nodes.loop.call_soon_threadsafe(responded.set)
        if responded.wait(NAMED_SECONDS):
            return True
        suspect = asyncio.current_task(self._nodes.loop)
        has_responded = responded.wait(CONFIRM_SECONDS)
        blocked = self._blocked_by(suspect, since, has_responded=has_responded)
        if blocked.node:
            self._blockages.name(blocked)
        if not has_responded:
            return self._follow(blocked)
        if blocked.node:
            self._blockages.end(self._nodes, blocked)
        return True

    def _blocked_by(
        self,
        suspect: asyncio.Task[Any] | None,
        since: float,
        *,
        has_responded: bool,
    ) -> Blocked:
        """Return what blocks the loop.

        A loop with many short tasks executes another one after a moment: none of them is
        to blame. Code that keeps the interpreter lock stops this thread too, so that the
        time alone has to be evidence.
        """
        is_certain = time.monotonic() - since >= CERTAIN_SECONDS
        is_same = suspect is asyncio.current_task(self._nodes.loop)
        if suspect is None or not (is_certain or (is_same and not has_responded)):
            return Blocked(since)
        context = context_of_task(suspect)
        if context is not None:
            return Blocked(since, context.run_id, context.node)
        return Blocked(since, self._nodes.run_of(suspect))  # a factory or a predicate

    def _follow(self, blocked: Blocked) -> bool:
        """Wait for the end of a blockage; return False if it was given up.

        The time is counted in steps, so that a process that was suspended as a whole is
        not taken for a blocked loop.
        """
        watched, is_reported = NAMED_SECONDS + CONFIRM_SECONDS, False
        while not self._responded.wait(STEP_SECONDS):
            watched += STEP_SECONDS
            if self._ended.is_set():
                return False
            if watched >= settings.BLOCKED_LOOP_SECONDS:
                self._blockages.give_up(self._nodes, self._named(blocked))
                return False
            if watched >= BLOCKED_SECONDS and not is_reported:
                is_reported = True
                blocked = self._named(blocked)
                self._blockages.report(self._nodes, blocked)
        if blocked.node or is_reported:
            self._blockages.end(self._nodes, blocked)
        return True

    def _named(self, blocked: Blocked) -> Blocked:
        """Return the blockage with its node, if that was not known at first."""
        if blocked.node:
            return blocked
        task = asyncio.current_task(self._nodes.loop)
        return self._blocked_by(task, blocked.since, has_responded=False)
