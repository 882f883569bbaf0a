"""The thread that renews the leases of a worker, whatever its event loops do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection

from workflows.infra.database_threads import in_this_thread

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE_SECONDS = 0.2  # after a failed heartbeat; doubled up to the usual pause
JOIN_SECONDS = 5.0  # for a thread that is inside a call at the end of the worker


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
