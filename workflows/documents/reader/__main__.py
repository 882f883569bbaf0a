"""A child of the pool: executes one task at a time and exits when idle.

python -m workflows.documents.reader MEMORY_BYTES IDLE_SECONDS NICENESS
"""

from __future__ import annotations

import os
import queue
import resource
import sys
import threading
import traceback

from workflows.documents.reader import pipe_protocol
from workflows.documents.reader.pipe_protocol import Head
from workflows.documents.reader.tasks import TASKS
from workflows.runtime.errors import ProviderError

Request = tuple[Head, bytes]


def main(memory_bytes: int, idle_seconds: float, niceness: int) -> None:
    """Process requests until idle for `idle_seconds`."""
    replies = os.dup(1)
    os.dup2(2, 1)  # other output goes to the log, not into the replies
    os.nice(niceness)
    _limit(memory_bytes)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_receive_requests, args=(requests,), daemon=True).start()
    while True:
        try:
            head, body = requests.get(timeout=idle_seconds)
        except queue.Empty:
            os._exit(0)
        pipe_protocol.send(replies, *_execute(head, body))


def _limit(memory_bytes: int) -> None:
    """Limit the memory of the process, where supported (not on macOS)."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, most)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    except (ValueError, OSError):
        return
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, 0)
    )  # a core dump would contain documents


def _receive_requests(requests: queue.SimpleQueue[Request]) -> None:
    """Queue requests; exit immediately when the pool closes the pipe."""
    try:
        while True:
            requests.put(pipe_protocol.receive(0))
    except pipe_protocol.ConnectionClosed:
        os._exit(0)


def _execute(head: Head, body: bytes) -> tuple[Head, bytes]:
    try:
        return TASKS[head.pop("task")](body, **head)
    except ProviderError as error:
        message = str(error) or (type(error).__doc__ or "").strip()
        return {"error": type(error).__name__, "message": message}, b""
    except MemoryError:
        return {"error": "bug", "message": "MemoryError"}, b""
    except Exception:
        return {"error": "bug", "message": traceback.format_exc()}, b""


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
