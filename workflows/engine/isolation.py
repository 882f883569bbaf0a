"""Nodes in child processes: `@node(isolate=True)`, seen from the process of the run.

Each try gets a fresh process, which `isolated_child.py` serves. What ends it (a signal, an
exit, its memory) is an ordinary error of the node. Timeout and cancellation kill it, with
all processes that it started. Function, value, result and errors are pickled: author
code that controls a child can do to this process what author code in a thread can do.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .context import NodeContext
from .errors import DefinitionError, IsolationFailed, LimitExceeded, ProcessDied
from .isolated_frames import (
    ERROR,
    LOG,
    PROGRESS,
    RESULT,
    Frames,
    Payload,
    dump,
    load,
)
from .processes import (
    ProcessEnd,
    kill_group,
    peak_of_this_process,
    wait_for_end,
)

if TYPE_CHECKING:
    from .isolated_frames import Frame

LEVELS: Final = frozenset({"debug", "info", "warning", "error"})
CHECK_SECONDS: Final = 0.1  # between two checks whether the try has to stop
END_SECONDS: Final = 2.0  # for a child that has closed its pipe
_CHUNK_BYTES = 1 << 16

_setups: list[str] = []


@dataclass(frozen=True, slots=True)
class Isolation:
    """Limits of the child process in which a node runs. Raises DefinitionError for invalid ones.

    Exceeding one fails the node with LimitExceeded. The limit of memory requires Linux; on
    other systems the node fails with IsolationFailed.
    """

    memory_mb: int | None = None  # of data, in millions of bytes
    cpu_seconds: int | None = None  # of one try, in all its threads

    def __post_init__(self) -> None:
        """Raise DefinitionError for limits below 1."""
        for name in ("memory_mb", "cpu_seconds"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise DefinitionError(
                    f"Isolation({name}={limit}) is below 1: use more."
                )


@dataclass(frozen=True, slots=True)
class Work:
    """The call of one try."""

    function: Callable[..., Any]
    value: object
    accepts_runtime: bool


def set_up_children(function: str) -> None:
    """Call a function, `module:name`, in each child before it imports an author's module."""
    if function not in _setups:
        _setups.append(function)


def check_isolated(function: Callable[..., Any], name: str, *, is_async: bool) -> None:
    """Raise DefinitionError for a function that no child process can import or call."""
    if is_async:
        raise DefinitionError(
            f"Node “{name}” is async, and isolate= runs a sync function in a child process:"
            " define it with `def`."
        )
    path = getattr(function, "__qualname__", "")
    if not path or "<" in path:
        raise DefinitionError(
            f"Node “{name}” cannot be isolated: a child process imports its function by name."
            " Define it with `def` at the top level of a module."
        )


def call_isolated(
    work: Work, isolation: Isolation, runtime: object, context: NodeContext
) -> Any:
    """Call a node's function in a child process, in the thread of the node.

    Raises what the function raises, ProcessDied, LimitExceeded, and IsolationFailed for
    values that cannot be passed on.
    """
    payload = _payload(work, isolation, runtime, context)
    peak = peak_of_this_process()
    with _child_process() as (process, messages):
        frame = _Exchange(process, messages, payload, runtime, context).answer()
        if frame is not None:
            return _unpack(frame, context.node, isolation)
        end = _wait_for_end(process, peak)
    raise _death(context.node, end, isolation)


def _wait_for_end(process: subprocess.Popen[bytes], peak: int) -> ProcessEnd:
    """Wait for the end of a child whose pipe is closed; kill one that has only closed it."""
    timer = threading.Timer(END_SECONDS, kill_group, [process.pid])
    timer.start()
    try:
        end = wait_for_end(process.pid, peak)
    finally:
        timer.cancel()
    process.returncode = end.code
    return end


def _payload(
    work: Work, isolation: Isolation, runtime: object, context: NodeContext
) -> bytes:
    for_child = getattr(runtime, "for_child", None)
    payload = Payload(
        path=list(sys.path),
        setups=tuple(_setups),
        module=work.function.__module__,
        name=work.function.__qualname__,
        memory_bytes=(isolation.memory_mb or 0) * 1_000_000,
        cpu_seconds=isolation.cpu_seconds or 0,
        key=context.key,
        node=context.node,
        sequence=context.sequence,
        outcome=context.outcome,
        accepts_runtime=work.accepts_runtime,
    )
    if payload.module == "__main__":
        raise IsolationFailed(
            f"Node “{context.node}” cannot be isolated: its function is in the script that"
            " was started. Move it into a module that can be imported."
        )
    if isolation.memory_mb and sys.platform != "linux":
        raise IsolationFailed(
            f"Node “{context.node}” has a limit of memory, which this platform"
            f" ({sys.platform}) cannot enforce: run it on Linux, or remove memory_mb."
        )
    try:
        content = dump((work.value, for_child() if for_child else None))
    except Exception as error:
        raise IsolationFailed(
            f"The input of node “{context.node}” cannot be passed to its process: {error}"
        ) from error
    return pickle.dumps((payload, content))


@contextmanager
def _child_process() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a child and give it with its pipe; kill it and what it started at the end."""
    messages, theirs = os.pipe()
    try:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "workflows.engine.isolated_child", str(theirs)],
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
                start_new_session=True,
                bufsize=0,
                env=_environment(),
            )
        finally:
            os.close(theirs)
        try:
            yield process, messages
        finally:
            if process.returncode is None:
                kill_group(process.pid)
                process.wait()
            assert process.stdin is not None  # noqa: S101 - a pipe
            process.stdin.close()
    finally:
        os.close(messages)


def _environment() -> dict[str, str]:
    """Return the environment of a child, in which it finds this package."""
    root = os.path.dirname(__file__).removesuffix(os.path.join("workflows", "engine"))  # noqa: PTH118, PTH120 - text
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class _Exchange:
    """Sends the payload and receives the answer, without blocking on either pipe."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        messages: int,
        payload: bytes,
        runtime: object,
        context: NodeContext,
    ) -> None:
        assert process.stdin is not None  # noqa: S101 - a pipe
        self._input = process.stdin.fileno()
        self._messages = messages
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


def _unpack(frame: Frame, node: str, isolation: Isolation) -> Any:
    try:
        content = load(frame.body)
    except Exception as error:
        raise IsolationFailed(
            f"The process of node “{node}” returned something that cannot be read: {error}"
        ) from error
    if frame.kind == RESULT:
        return content
    if isinstance(content, MemoryError) and isolation.memory_mb:
        raise LimitExceeded(
            f"Node “{node}” exceeded its limit of {isolation.memory_mb:,} MB of memory."
        ) from content
    if isinstance(content, BaseException):
        raise content
    raise IsolationFailed(f"Node “{node}”: {content}")


def _death(node: str, end: ProcessEnd, isolation: Isolation) -> ProcessDied:
    if end.code == -signal.SIGXCPU and isolation.cpu_seconds:
        return LimitExceeded(
            f"Node “{node}” exceeded its limit of {isolation.cpu_seconds:,} s of CPU time.",
            end,
        )
    return ProcessDied(
        f"The process of node “{node}” ended with {end} before it returned a result.",
        end,
    )
