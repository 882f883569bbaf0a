"""Kills this process at one moment.

KILL_AT is "before 2" or "after 2": a commit of the writer, counted from 1. KILL_IN is
"package.module:function before 2": a call of a function of ours.
"""

from __future__ import annotations

import importlib
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


def arm_call(kill_in: str) -> None:
    """Kill the process before or after the n-th call of a function."""
    place, when, number = kill_in.split()
    module_name, _, name = place.partition(":")
    module = importlib.import_module(module_name)
    function, count = getattr(module, name), itertools.count(1)

    def deadly(*args: Any, **options: Any) -> Any:
        is_last = next(count) == int(number)
        if is_last and when == "before":
            die()
        result = function(*args, **options)
        if is_last:
            die()
        return result

    setattr(module, name, deadly)
