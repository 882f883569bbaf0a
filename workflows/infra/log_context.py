"""Which run and node the running code belongs to, for the lines that it logs.

Context variables follow a task and the threads it hands work to, so a node's own
`logging` lines carry them too, wherever in a library they were written.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

RUN: Final[ContextVar[str]] = ContextVar("run", default="")
NODE: Final[ContextVar[str]] = ContextVar("node", default="")


def here() -> str:
    """Return the run and the node, as a log line shows them; empty outside of runs."""
    return " ".join(filter(None, (RUN.get(), NODE.get())))
