"""A child process of an isolated node or of items, seen from the process that started it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .isolated_frames import ERROR, LOG, PROGRESS, RESULT, Frames, load
from .process_limits import (
    ProcessEnd,
    kill_group,
    peak_of_this_process,
    wait_for_end,
)

if TYPE_CHECKING:
    from .context import NodeContext
    from .isolated_frames import Frame

LEVELS: Final = frozenset({"debug", "info", "warning", "error"})
CHECK_SECONDS: Final = 0.1  # between two checks whether the try has to stop
END_SECONDS: Final = 2.0  # for a child that has closed its pipe
ONCE: Final = "once"  # a child that exits after one call
KEPT: Final = "kept"  # a child that waits for the next call
_CHUNK_BYTES = 1 << 16


class ChildProcess:
    """A child process with its two pipes; it leads a process group of its own."""

    def __init__(self, mode: str = ONCE) -> None:
        """Start the process. It ends with the thread that starts it, at the latest."""
        self._peak = peak_of_this_process()
        self.messages, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [
                    sys.executable,
                    "-m",
                    "workflows.engine.isolated_child",
                    str(theirs),
                    mode,
                ],
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
                start_new_session=True,
                bufsize=0,
                env=_environment(),
            )
        except BaseException:
            os.close(self.messages)
            raise
        finally:
            os.close(theirs)
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        self._stdin = self._process.stdin
        self.input = self._stdin.fileno()

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, while it had no call."""
        return self._process.poll() is not None

    def wait_for_end(self) -> ProcessEnd:
        """Wait for a child whose pipe is closed; kill one that has only closed it."""
        timer = threading.Timer(END_SECONDS, kill_group, [self.pid])
        timer.start()
        try:
            end = wait_for_end(self.pid, self._peak)
        finally:
            timer.cancel()
        self._process.returncode = end.code
        return end

    def close(self) -> None:
        """Kill it and what it started, unless it has ended, and close its pipes."""
        if self._process.returncode is None:
            kill_group(self.pid)
            self._process.wait()
        self._stdin.close()
        os.close(self.messages)


def _environment() -> dict[str, str]:
    """Return the environment of a child, in which it finds this package."""
    root = os.path.dirname(__file__).removesuffix(os.path.join("workflows", "engine"))  # noqa: PTH118, PTH120 - text
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class Exchange:
    """Sends the payload and receives the answer, without blocking on either pipe."""

    def __init__(
        self,
        child: ChildProcess,
        payload: bytes,
        runtime: object,
        context: NodeContext,
    ) -> None:
        self._input, self._messages = child.input, child.messages
        self._unsent = memoryview(len(payload).to_bytes(8, "big") + payload)
        self._logger = getattr(runtime, "logger", None)
        self._progress = getattr(runtime, "progress", None)
        self._context = context
        self._frames = Frames()

    def answer(self) -> Frame | None:
        """Return the result or the error, None if the child ended without one.

        Raises the signal of a cancelled run.
        """
        os.set_blocking(self._input, False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._messages, selectors.EVENT_READ)
            selector.register(self._input, selectors.EVENT_WRITE)
            while True:
                ready = {key.fd for key, _ in selector.select(CHECK_SECONDS)}
                self._stop_if_cancelled()
                if self._input in ready and not self._send():
                    selector.unregister(self._input)
                if self._messages in ready:
                    chunk = os.read(self._messages, _CHUNK_BYTES)
                    answer = self._receive(chunk)
                    if answer is not None or not chunk:
                        return answer

    def _stop_if_cancelled(self) -> None:
        if not self._context.cancelled:
            return
        self._context.cancellation.raise_if_cancelled()
        raise TimeoutError("The try was abandoned.")

    def _send(self) -> bool:
        """Send a part of the payload; return whether there is more."""
        with suppress(BlockingIOError):
            try:
                self._unsent = self._unsent[os.write(self._input, self._unsent) :]
            except BrokenPipeError:  # it has ended, as the other pipe will show
                return False
        return bool(self._unsent)

    def _receive(self, chunk: bytes) -> Frame | None:
        for frame in self._frames.add(chunk):
            if frame.kind in {RESULT, ERROR}:
                return frame
            if frame.kind == LOG and self._logger is not None:
                level, message = load(frame.body)
                if level in LEVELS:
                    getattr(self._logger, level)("%s", message)
            if frame.kind == PROGRESS and self._progress is not None:
                self._progress(*load(frame.body))
        return None
