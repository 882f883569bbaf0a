"""A child process that executes one run, as its worker sees it.

    worker → child   its standard input: a JSON object per line: `drain`, `cancel`
    child → worker   a pipe: a JSON object per line: `ready`, and the versions it commits

The child ends when its standard input is closed, which the end of the worker does as well.
Its output is that of the worker. It is the leader of a session of its own, so that a
signal to the worker's terminal does not reach it, and whatever it started ends with it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import workflows
from workflows.engine.process_limits import (
    ProcessEnd,
    kill_group,
    peak_of_this_process,
    wait_for_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.models import Run

logger = logging.getLogger(__name__)

MANAGE = Path(workflows.__file__).resolve().parents[1] / "manage.py"
COMMAND = "execute_run"
JOIN_SECONDS = 10.0  # for the rest of what a child that ended has written
MAX_LINE_BYTES = 1_000  # of a message; author code may write into the pipe as well


class ChildProcess:
    """The child process of one run. Its methods may be called from any thread."""

    def __init__(self, run: Run, on_version: Callable[[int], None]) -> None:
        """`on_version` gets the versions of the run, in a thread of this object."""
        self.is_ready = False  # it has begun to execute the run
        self.ended: Future[ProcessEnd] = Future()
        self.run = run
        self._on_version = on_version
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self._unsent: list[bytes] = []

    def start(self) -> None:
        """Start it; `ended` gets its end, or the OSError of its start."""
        name = f"child of run {self.run.pk}"
        threading.Thread(target=self._supervise, name=name, daemon=True).start()

    def drain(self) -> None:
        """Request that it releases the run before the next node."""
        self._send({"drain": True})

    def cancel(self, reason: str) -> None:
        """Request that it cancels the run."""
        self._send({"cancel": reason})

    def kill(self) -> None:
        """End the process at once, with all processes that it started."""
        with self._lock:
            self._is_killed = True
            if self._process is not None and self._process.returncode is None:
                kill_group(self._process.pid)

    def _send(self, message: dict[str, object]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            self._unsent.append(line)
            self._write_unsent()

    def _write_unsent(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        with suppress(OSError):  # it has ended, or has not read for a long time
            self._process.stdin.write(b"".join(self._unsent))
        self._unsent.clear()

    def _supervise(self) -> None:
        """Start the process, and wait for its end."""
        peak = peak_of_this_process()
        try:
            process, reader = self._start()
            end = self._wait(process, peak)
        except Exception as error:
            self.ended.set_exception(error)
            return
        reader.join(JOIN_SECONDS)
        self.ended.set_result(end)

    def _start(self) -> tuple[subprocess.Popen[bytes], threading.Thread]:
        messages, theirs = os.pipe()
        run = self.run
        arguments = [str(run.pk), str(run.attempt), run.worker, str(theirs)]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, str(MANAGE), COMMAND, *arguments],
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            os.close(messages)
            raise
        finally:
            os.close(theirs)
        assert process.stdin is not None  # noqa: S101 - a pipe
        os.set_blocking(process.stdin.fileno(), False)
        reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        reader.start()
        with self._lock:
            self._process = process
            self._write_unsent()
            if self._is_killed:
                kill_group(process.pid)
        return process, reader

    def _wait(self, process: subprocess.Popen[bytes], peak: int) -> ProcessEnd:
        if hasattr(os, "waitid"):  # while its number can't be that of another process
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            kill_group(process.pid)
        with self._lock:
            end = wait_for_end(process.pid, peak)
            process.returncode = end.code
            assert process.stdin is not None  # noqa: S101 - a pipe
            process.stdin.close()
        return end

    def _read(self, messages: int) -> None:
        """Handle the messages of the child until it ends; ignore what is no message."""
        with os.fdopen(messages, "rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES):
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if message == "ready":
                    self.is_ready = True
                elif isinstance(message, int):
                    self._on_version(message)
