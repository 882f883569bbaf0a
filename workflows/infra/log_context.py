"""The run and node of the running code, for its log lines.

Context variables follow a task and the threads it calls, so that the `logging` lines of a
node carry them too, also those of libraries.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

RUN: Final[ContextVar[str]] = ContextVar("run", default="")
NODE: Final[ContextVar[str]] = ContextVar("node", default="")
# the number of the step, where several steps of a run are executed at the same time
STEP: Final[ContextVar[int]] = ContextVar("step", default=0)


def here() -> str:
    """Return the run and the node for a log line; empty outside of runs."""
    return " ".join(filter(None, (RUN.get(), NODE.get())))
