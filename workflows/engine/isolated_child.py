"""The child process of isolated nodes and items: `python -m workflows.engine.isolated_child`.

Its arguments are the number of the pipe for its answers, and whether it exits after one call.
Reads payloads from its standard input, which stays open: when it is closed, the parent has
ended, and so does this process. Sends frames into the pipe, the last one of each call the result.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from .child_processes import KEPT
from .isolated_call import answer
from .isolated_frames import LOG, PROGRESS, Frame, dump
from .process_limits import bind_to_parent

_lock = threading.Lock()  # of the pipe


class Answers:
    """The pipe to the process of the run, for one call. Thread-safe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._is_over = False

    def end(self, frame: Frame) -> None:
        """Send the last frame: what threads of the call send later belongs to no call."""
        with _lock:
            self._is_over = True
            self._write(frame)

    def _send(self, kind: bytes, content: object) -> None:
        frame = Frame(kind, dump(content))
        with _lock:
            if not self._is_over:
                self._write(frame)

    def _write(self, frame: Frame) -> None:
        rest = memoryview(frame.packed())
        while rest:
            rest = rest[os.write(self._pipe, rest) :]

    def log(self, level: str, message: str) -> None:
        """Send a line for the log of the run."""
        self._send(LOG, (level, message))

    def progress(self, done: object, of: object, text: object) -> None:
        """Send a report of progress."""
        self._send(PROGRESS, (done, of, text))


def main(pipe: int, mode: str) -> None:
    """Execute calls and send their results or errors; exit without waiting for threads."""
    bind_to_parent()
    os.set_inheritable(pipe, False)
    payloads = _receive_payloads()
    while True:
        payload, content = pickle.loads(payloads.get())  # noqa: S301 - of our parent
        answers = Answers(pipe)
        frame = answer(payload, content, answers)
        answers.end(frame)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        if mode != KEPT:
            os._exit(0)


def _receive_payloads() -> SimpleQueue[bytes]:
    """Return the queue of payloads. A thread fills it, and ends the process with the parent."""
    payloads: SimpleQueue[bytes] = SimpleQueue()
    pipe = os.dup(0)  # author code finds nothing in its standard input
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def receive() -> None:
        while True:
            length = int.from_bytes(_read(pipe, 8), "big")
            payloads.put(_read(pipe, length))

    threading.Thread(target=receive, name="parent", daemon=True).start()
    return payloads


def _read(pipe: int, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(pipe, count - len(parts))
        if not part:
            os._exit(os.EX_UNAVAILABLE)  # the parent has ended
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
