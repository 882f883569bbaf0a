"""A child of the pool: does what it is asked, one task at a time, until it is idle.

python -m workflows.documents.reader MEMORY_BYTES IDLE_SECONDS NICENESS
"""

from __future__ import annotations

import os
import queue
import resource
import sys
import threading
import traceback

from workflows.documents.reader import frames
from workflows.documents.reader.frames import Head
from workflows.documents.reader.tasks import TASKS
from workflows.runtime.errors import ProviderError

Asked = tuple[Head, bytes]


def main(memory_bytes: int, idle_seconds: float, niceness: int) -> None:
    """Answer until nobody asks any more."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed goes to the log, not between the answers
    os.nice(niceness)
    _limit(memory_bytes)
    asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    while True:
        try:
            head, body = asked.get(timeout=idle_seconds)
        except queue.Empty:
            os._exit(0)
        frames.send(answers, *_answered(head, body))


def _limit(memory_bytes: int) -> None:
    """Refuse ourselves more memory than that, where the system can (not on macOS)."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, most)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    except (ValueError, OSError):
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold people's documents


def _listen(asked: queue.SimpleQueue[Asked]) -> None:
    """Take tasks; end the process, whatever it is doing, when the pool is gone."""
    try:
        while True:
            asked.put(frames.receive(0))
    except frames.Gone:
        os._exit(0)


def _answered(head: Head, body: bytes) -> tuple[Head, bytes]:
    try:
        return TASKS[head.pop("task")](body, **head)
    except ProviderError as refused:
        told = str(refused) or (type(refused).__doc__ or "").strip()
        return {"error": type(refused).__name__, "message": told}, b""
    except MemoryError:
        return {"error": "bug", "message": "MemoryError"}, b""
    except Exception:
        return {"error": "bug", "message": traceback.format_exc()}, b""


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
