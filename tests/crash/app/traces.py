"""Lines that nodes append to a file, with the time and the process."""

from __future__ import annotations

import os
import time


def leave_line(path: str, *words: str) -> None:
    """Append words, the process id and the monotonic time to a file, atomically."""
    line = " ".join((*words, str(os.getpid()), f"{time.monotonic():.6f}")) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
