"""What workers do beside runs, a little at a time, for whoever asked for it.

Those who have such work put it here when the application is loaded: the worker need not
know them.
"""

from __future__ import annotations

from collections.abc import Callable

BackgroundTask = Callable[[str], bool]
"""Does some of it in the name of a worker; tells whether there is more to do now."""

_tasks: list[BackgroundTask] = []


def add(chore: BackgroundTask) -> None:
    """Let workers do this; a second time is fine."""
    if chore not in _tasks:
        _tasks.append(chore)


def do_some(worker: str) -> bool:
    """Do some of all there is; tell whether there is more to do now."""
    left = [chore(worker) for chore in _tasks]  # all of them have a turn
    return any(left)
