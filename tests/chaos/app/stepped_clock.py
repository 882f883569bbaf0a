"""The wall clock of one process, moved by the number of seconds in a file.

`CHAOS_CLOCK` names the file. `django.utils.timezone.now`, `clock.local_now` and `time.time`
are replaced, by which the product reads the time of day; the monotonic clock does not step
on a real machine either.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

from django.utils import timezone

from workflows.infra import clock


def install() -> None:
    """Replace the clock of this process if `CHAOS_CLOCK` is set."""
    if path := os.environ.get("CHAOS_CLOCK"):
        step = Step(Path(path))
        real_time, real_now = time.time, timezone.now
        setattr(time, "time", lambda: real_time() + step.seconds())  # noqa: B010 - a function of C
        for module, name in ((timezone, "now"), (clock, "local_now")):
            setattr(
                module, name, lambda: real_now() + dt.timedelta(seconds=step.seconds())
            )


class Step:
    """The number in a file, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = -1
        self._seconds = 0.0

    def seconds(self) -> float:
        """Return by how many seconds the clock is ahead."""
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0.0
        if changed != self._changed:
            text = self._path.read_text()
            if text:  # a file that is being written is empty for a moment
                self._seconds, self._changed = float(text), changed
        return self._seconds
