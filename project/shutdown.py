"""End a process whose threads do not end.

A thread cannot be interrupted, and Python waits for non-daemon threads at exit: forever,
if a node never returns. Call `end_within` after the clean-up.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

logger = logging.getLogger(__name__)

END_SECONDS = 3.0  # for the interpreter's own clean-up


def end_within(seconds: float = END_SECONDS, *, code: int = 0) -> None:
    """End this process with this exit code, at the latest after so many seconds.

    Call it only when nothing is left to be done: what still runs then is cut off.
    """
    threading.Thread(
        target=_end_after, args=(seconds, code), name="end", daemon=True
    ).start()


def _end_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    logger.warning(
        "The process ends without waiting for code that does not return: %s.",
        ", ".join(sorted(_still_there())) or "a task",
    )
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _still_there() -> list[str]:
    """Return the names of the threads that Python waits for."""
    known = {threading.main_thread(), threading.current_thread()}
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in known and not thread.daemon
    ]
