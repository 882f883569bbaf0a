"""A call of author code in another process: from what was sent to the frame that answers it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import inspect
import operator
import resource
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import describe
from .isolated_frames import ERROR, RESULT, Frame, Payload, dump, load
from .outcomes import RunOutcome
from .process_limits import set_limit

CPU_GRACE_SECONDS = 5  # after SIGXCPU, which code may ignore, until SIGKILL

_set_up: set[str] = set()  # functions that were called in this process


@dataclass(frozen=True, slots=True)
class ChildContext:
    """The context of the node in its child process."""

    key: str
    node: str
    sequence: int
    outcome: RunOutcome | None = None
    cancelled: bool = False  # a cancelled process is killed


class Sender(Protocol):
    """The way to the process of the run."""

    def log(self, level: str, message: str) -> None:
        """Send a line for the log of the run."""

    def progress(self, done: object, of: object, text: object) -> None:
        """Send a report of progress."""


def answer(payload: Payload, content: bytes, sender: Sender) -> Frame:
    """Call the function and return the frame with its result or its error."""
    try:
        call = _prepare(payload, content, sender)
        _limit(payload)
        result = call()
        if inspect.isawaitable(result):
            _close(result)
            return Frame(ERROR, dump("an isolated node cannot return an awaitable."))
    except BaseException as error:
        return Frame(ERROR, dump_error(error))
    return frame_of(result)


def frame_of(result: object) -> Frame:
    """Return the frame with a result, or with the reason why it cannot be sent."""
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


def _prepare(payload: Payload, content: bytes, sender: Sender) -> Callable[[], Any]:
    sys.path[:] = payload.path
    set_up(payload.setups)
    function = find_function(payload.module, payload.name)
    value, runtime = load(content)
    if not payload.accepts_runtime:
        return lambda: function(value)
    context = ChildContext(payload.key, payload.node, payload.sequence, payload.outcome)
    connected = runtime.connect(context, sender) if runtime else None
    return lambda: function(value, connected)


def set_up(functions: tuple[str, ...]) -> None:
    """Call each function, `module:name`, once in this process."""
    for setup in functions:
        if setup not in _set_up:
            module, _, name = setup.partition(":")
            getattr(importlib.import_module(module), name)()
            _set_up.add(setup)


def find_function(module: str, name: str) -> Callable[..., Any]:
    """Return a function of an author by name. Raises what its module raises."""
    found = operator.attrgetter(name)(importlib.import_module(module))
    function: Callable[..., Any] = getattr(found, "function", found)
    return function


def _limit(payload: Payload) -> None:
    """Set the limits, as late as possible: they are those of the author's function."""
    if payload.memory_bytes:
        set_limit(resource.RLIMIT_DATA, payload.memory_bytes, payload.memory_bytes)
    if payload.cpu_seconds:
        used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1
        limit = used + payload.cpu_seconds
        set_limit(resource.RLIMIT_CPU, limit, limit + CPU_GRACE_SECONDS)
    set_limit(resource.RLIMIT_CORE, 0, 0)  # a dump would contain the state


def dump_error(error: BaseException) -> bytes:
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
