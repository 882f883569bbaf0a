"""Kills this process at one commit: KILL_AT is "before 2" or "after 2", counted from 1."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from workflows.execution.writer import Writer


def die() -> None:
    """Kill this process, and first the worker if this is its child process."""
    if sys.argv[1] == "execute_run":
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kill_at: str) -> None:
    """Kill the process before or after the n-th commit of the writer."""
    when, _, number = kill_at.partition(" ")
    commit = Writer._commit  # noqa: SLF001 - the commit itself
    count = itertools.count(1)

    def deadly(self: Writer, batch: Any) -> Any:
        is_last = next(count) == int(number)
        if is_last and when == "before":
            die()
        versions = commit(self, batch)
        if is_last:
            die()
        return versions

    setattr(Writer, "_commit", deadly)  # noqa: B010 - a method, in this process only
