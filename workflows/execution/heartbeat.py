"""What a worker does on threads that nodes cannot hold up: heartbeats, and a watch.

A node that blocks the event loop holds up every run of its worker. Their leases are
renewed all the same, so that no other worker takes over runs that are in good hands, and
the log of each run says what held it up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection

from workflows.engine.context import place_of
from workflows.infra import metrics
from workflows.infra.database_threads import in_this_thread

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = (
    0.2  # after a heartbeat that failed; doubled up to the usual pause
)
JOIN_SECONDS = 5.0  # for a thread that is inside a call at the end
LOOK_SECONDS = 1.0  # between two looks at the event loop
BLOCKED_SECONDS = 3.0  # without an answer, after which the event loop is called blocked
GRACE_SECONDS = 0.5  # for the loop of a process that was itself suspended


class Heartbeat:
    """A thread that renews the leases of what a worker holds."""

    def __init__(
        self, beat: Callable[[], None], failed: Callable[[Exception], None]
    ) -> None:
        """Take what one heartbeat does, and what is told of one that failed."""
        self._beat = beat
        self._failed = failed
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name="heartbeat", daemon=True
        )

    def start(self) -> None:
        """Begin at once, then beat every HEARTBEAT_SECONDS."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; call it from a thread, since a heartbeat may be under way."""
        self._ended.set()
        self._thread.join(JOIN_SECONDS)

    def _serve(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while not self._ended.is_set():
                try:
                    in_this_thread(self._beat)
                except Exception as error:
                    self._failed(error)
                    self._ended.wait(pause)
                    pause = min(pause * 2, settings.HEARTBEAT_SECONDS)
                else:
                    pause = FIRST_PAUSE_SECONDS
                    self._ended.wait(settings.HEARTBEAT_SECONDS)
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Blocked:
    """An event loop that is blocked, or was."""

    since: float  # on the monotonic clock
    run_id: str = ""  # whose node blocks it; "" for code that is no node's
    node: str = ""

    @property
    def seconds(self) -> float:
        """How long it has been so by now."""
        return time.monotonic() - self.since


class LoopWatch:
    """A thread that notices when the event loop is blocked, and by which node."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_blocked: Callable[[Blocked], None]
    ) -> None:
        """Take the loop; `on_blocked` is called in the thread while it is blocked."""
        self._loop = loop
        self._on_blocked = on_blocked
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name="loop-watch", daemon=True
        )

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def _serve(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            while not self._ended.wait(LOOK_SECONDS):
                self._look()

    def _look(self) -> None:
        answered = threading.Event()
        since = time.monotonic()
        self._loop.call_soon_threadsafe(answered.set)
        if answered.wait(BLOCKED_SECONDS) or answered.wait(GRACE_SECONDS):
            return
        blocked = self._what_blocks(since)
        metrics.BLOCKED_LOOPS.inc()
        self._on_blocked(blocked)
        while not answered.wait(LOOK_SECONDS) and not self._ended.is_set():
            pass
        if answered.is_set():
            logger.warning(
                "The event loop answers again, after %.0f s.", blocked.seconds
            )

    def _what_blocks(self, since: float) -> Blocked:
        task: asyncio.Task[Any] | None = asyncio.current_task(self._loop)
        place = place_of(task) if task is not None else None
        if place is None:
            return Blocked(since)
        return Blocked(since, place.run_id, place.node)
