"""Nodes in child processes: `@node(isolate=True)`, seen from the process of the run.

Each try gets a fresh process, which `isolated_child.py` serves. What ends it (a signal, an
exit, its memory) is an ordinary error of the node. Timeout and cancellation kill it, with
all processes that it started. Function, value, result and errors are pickled: author
code that controls a child can do to this process what author code in a thread can do.
"""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .child_processes import ChildProcess, Exchange
from .context import NodeContext
from .errors import DefinitionError, IsolationFailed, LimitExceeded, ProcessDied
from .isolated_frames import RESULT, Payload, dump, load
from .process_limits import ProcessEnd

if TYPE_CHECKING:
    from .isolated_frames import Frame

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


def setups() -> tuple[str, ...]:
    """Return these functions."""
    return tuple(_setups)


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
    payload = payload_of(work, isolation, runtime, context)
    with closing(ChildProcess()) as child:
        frame = Exchange(child, payload, runtime, context).answer()
        if frame is not None:
            return unpack(frame, context.node, isolation)
        end = child.wait_for_end()
    raise _death(context.node, end, isolation)


def payload_of(
    work: Work, isolation: Isolation, runtime: object, context: NodeContext
) -> bytes:
    """Return what a child needs for the call. Raises IsolationFailed."""
    for_child = getattr(runtime, "for_child", None)
    payload = Payload(
        path=list(sys.path),
        setups=setups(),
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


def unpack(frame: Frame, node: str, isolation: Isolation) -> Any:
    """Return the result of a call. Raises its error, IsolationFailed and LimitExceeded."""
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
