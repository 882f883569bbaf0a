"""Threads of a worker that nodes cannot block: its heartbeat, and a watch on its loop.

A node that blocks the event loop blocks every run of its worker. Their leases are renewed
all the same, so that no other worker recovers them, and the log of each run names the node
that blocked it.
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

from workflows.engine.context import context_of_task
from workflows.infra import metrics
from workflows.infra.database_threads import in_this_thread

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2  # after a failed heartbeat; doubled up to the usual pause
JOIN_SECONDS = 5.0  # for a thread that is inside a call at the end of the worker
CHECK_SECONDS = 1.0  # between two checks of the event loop
BLOCKED_SECONDS = (
    3.0  # without a response, after which the event loop counts as blocked
)
GRACE_SECONDS = 0.5  # for the loop of a process that was itself suspended


class Heartbeat:
    """A thread that renews the leases of what a worker holds."""

    def __init__(
        self, renew: Callable[[], None], on_failure: Callable[[Exception], None]
    ) -> None:
        """`renew` is one heartbeat, `on_failure` gets its error; both in the thread."""
        self._renew = renew
        self._on_failure = on_failure
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name="heartbeat", daemon=True
        )

    def start(self) -> None:
        """Send the first heartbeat at once, then one every HEARTBEAT_SECONDS."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; call it from a thread: it waits for a heartbeat in progress."""
        self._ended.set()
        self._thread.join(JOIN_SECONDS)

    def _serve(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while not self._ended.is_set():
                try:
                    in_this_thread(self._renew)
                except Exception as error:
                    self._on_failure(error)
                    self._ended.wait(pause)
                    pause = min(pause * 2, settings.HEARTBEAT_SECONDS)
                else:
                    pause = FIRST_PAUSE_SECONDS
                    self._ended.wait(settings.HEARTBEAT_SECONDS)
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Blocked:
    """A period in which the event loop was or is blocked."""

    since: float  # on the monotonic clock
    run_id: str = ""  # of the node that blocks it; "" for code outside of nodes
    node: str = ""

    @property
    def seconds(self) -> float:
        """The seconds until now."""
        return time.monotonic() - self.since


class LoopWatch:
    """A thread that notices when the event loop is blocked, and by which node."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_blocked: Callable[[Blocked], None]
    ) -> None:
        """`on_blocked` is called in the thread while the loop is blocked."""
        self._loop = loop
        self._on_blocked = on_blocked
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name="loop-watch", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _serve(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            while not self._ended.wait(CHECK_SECONDS):
                self._check()

    def _check(self) -> None:
        responded = threading.Event()
        since = time.monotonic()
        self._loop.call_soon_threadsafe(responded.set)
        if responded.wait(BLOCKED_SECONDS) or responded.wait(GRACE_SECONDS):
            return
        blocked = self._blocked_since(since)
        metrics.BLOCKED_LOOPS.inc()
        self._on_blocked(blocked)
        while not responded.wait(CHECK_SECONDS) and not self._ended.is_set():
            pass
        if responded.is_set():
            logger.warning(
                "The event loop responds again, after %.0f s.", blocked.seconds
            )

    def _blocked_since(self, since: float) -> Blocked:
        task: asyncio.Task[Any] | None = asyncio.current_task(self._loop)
        place = context_of_task(task) if task is not None else None
        if place is None:
            return Blocked(since)
        return Blocked(since, place.run_id, place.node)
