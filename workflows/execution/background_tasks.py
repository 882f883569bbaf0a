"""Background tasks: work of other packages that workers do in small parts between runs.

A package adds its task when the application is loaded, so that the worker need not
import it.
"""

from __future__ import annotations

from collections.abc import Callable

BackgroundTask = Callable[[str], bool]
"""Does a part of the work for the named worker; returns True if more is due now."""

_tasks: list[BackgroundTask] = []


def add(task: BackgroundTask) -> None:
    """Let workers run this task; adding it twice has no effect."""
    if task not in _tasks:
        _tasks.append(task)


def run_tasks(worker: str) -> bool:
    """Run a part of each task; return True if more is due now."""
    # a list, so that each task gets its part, also after one that has more to do
    has_more = [task(worker) for task in _tasks]
    return any(has_more)
