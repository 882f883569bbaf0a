"""The child process of an isolated node: `python -m workflows.engine.isolated_child PIPE`.

Reads the payload from its standard input, which stays open: when it is closed, the parent
has ended, and so does this process. Sends frames into the pipe, the last one the result.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import inspect
import operator
import os
import pickle
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import describe
from .isolated_frames import ERROR, LOG, PROGRESS, RESULT, Frame, Payload, dump, load
from .outcomes import RunOutcome
from .processes import bind_to_parent, set_limit

CPU_GRACE_SECONDS = 5  # after SIGXCPU, which code may ignore, until SIGKILL


@dataclass(frozen=True, slots=True)
class ChildContext:
    """The context of the node in its child process."""

    key: str
    node: str
    sequence: int
    outcome: RunOutcome | None = None
    cancelled: bool = False  # a cancelled process is killed


class Answers:
    """The pipe to the process of the run. Thread-safe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, kind: bytes, content: object) -> None:
        """Send a frame. Raises what pickling raises."""
        self.send_frame(Frame(kind, dump(content)))

    def send_frame(self, frame: Frame) -> None:
        rest = memoryview(frame.packed())
        with self._lock:
            while rest:
                rest = rest[os.write(self._pipe, rest) :]

    def log(self, level: str, message: str) -> None:
        """Send a line for the log of the run."""
        self.send(LOG, (level, message))

    def progress(self, done: object, of: object, text: object) -> None:
        """Send a report of progress."""
        self.send(PROGRESS, (done, of, text))


def main(pipe: int) -> None:
    """Execute the call, send its result or error, and exit without waiting for threads."""
    bind_to_parent()
    os.set_inheritable(pipe, False)
    payload, content = pickle.loads(_read_payload())  # noqa: S301 - of our parent
    answers = Answers(pipe)
    _end_with_parent()
    frame = _answer(payload, content, answers)
    answers.send_frame(frame)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _read_payload() -> bytes:
    length = int.from_bytes(_read(8), "big")
    return _read(length)


def _read(count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(0, count - len(parts))
        if not part:
            os._exit(os.EX_UNAVAILABLE)  # the parent has ended
        parts += part
    return bytes(parts)


def _end_with_parent() -> None:
    lifeline = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def wait() -> None:
        while os.read(lifeline, 1024):
            pass
        os._exit(os.EX_UNAVAILABLE)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _answer(payload: Payload, content: bytes, answers: Answers) -> Frame:
    try:
        call = _prepare(payload, content, answers)
        _limit(payload)
        result = call()
        if inspect.isawaitable(result):
            _close(result)
            return Frame(ERROR, dump("an isolated node cannot return an awaitable."))
    except BaseException as error:
        return Frame(ERROR, _dump_error(error))
    try:
        body = dump(result)
        load(body)
    except BaseException as error:
        kind = f"{type(result).__module__}.{type(result).__qualname__}"
        text = (
            f"its result ({kind}) cannot be passed between processes: {describe(error)}"
        )
        return Frame(ERROR, dump(text))
    return Frame(RESULT, body)


def _prepare(payload: Payload, content: bytes, answers: Answers) -> Callable[[], Any]:
    sys.path[:] = payload.path
    for setup in payload.setups:
        module, _, name = setup.partition(":")
        getattr(importlib.import_module(module), name)()
    found = importlib.import_module(payload.module)
    node = operator.attrgetter(payload.name)(found)
    function = getattr(node, "function", node)
    value, runtime = load(content)
    if not payload.accepts_runtime:
        return lambda: function(value)
    context = ChildContext(payload.key, payload.node, payload.sequence, payload.outcome)
    connected = runtime.connect(context, answers) if runtime else None
    return lambda: function(value, connected)


def _limit(payload: Payload) -> None:
    """Set the limits, as late as possible: they are those of the author's function."""
    if payload.memory_bytes:
        set_limit(resource.RLIMIT_DATA, payload.memory_bytes, payload.memory_bytes)
    if payload.cpu_seconds:
        used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1
        limit = used + payload.cpu_seconds
        set_limit(resource.RLIMIT_CPU, limit, limit + CPU_GRACE_SECONDS)
    set_limit(resource.RLIMIT_CORE, 0, 0)  # a dump would contain the state


def _dump_error(error: BaseException) -> bytes:
    """Return the error pickled with its traceback; as a RuntimeError if it can't be pickled."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, asyncio.CancelledError | concurrent.futures.CancelledError):
        error = RuntimeError("something that the node awaited was cancelled")
    try:
        error.add_note(f"In the child process of the node:\n{text}")
        body = dump(error)
        if isinstance(load(body), type(error)):
            return body
    except BaseException as failure:
        text = f"{text}\n(It could not be pickled: {describe(failure)})"
    other = RuntimeError(f"{type(error).__name__}: {describe(error)}")
    other.add_note(f"In the child process of the node:\n{text}")
    return dump(other)


def _close(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
