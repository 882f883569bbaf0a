"""Kept child processes: the items of `parallel(…, on="processes")` run in them.

Each process has one call at a time, and is used again for the same function only: what author
code leaves behind in it reaches no other workflow. A process that ended, or whose call was
stopped, is never used again; the next call starts another one.
"""

from __future__ import annotations

import functools
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .author_code import call_in_node
from .child_processes import KEPT, ChildProcess, Exchange
from .errors import ProcessDied
from .isolation import Isolation, Work, payload_of, unpack
from .threads import ThreadPool, in_thread

if TYPE_CHECKING:
    from .context import NodeContext

IDLE_SECONDS: Final = 60.0  # for which a process without a call is kept
_NO_LIMITS: Final = Isolation()

Key: TypeAlias = tuple[str, str]  # module and name of a function


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, eq=False)
class _Idle:
    key: Key
    child: ChildProcess
    since: float  # monotonic


class KeptProcesses:
    """Child processes without a call, at most `size` of them. Thread-safe."""

    def __init__(self, size: int, idle_seconds: float = IDLE_SECONDS) -> None:
        self.size = size
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []  # the longest idle first
        self._timer: threading.Timer | None = None

    @property
    def pids(self) -> list[int]:
        """The ids of the processes without a call."""
        with self._lock:
            return [idle.child.pid for idle in self._idle]

    def call(self, work: Work, runtime: object, context: NodeContext) -> Any:
        """Call a function in a process, and return its result; blocks this thread.

        Raises what the function raises, ProcessDied, IsolationFailed for values that cannot be
        passed on, and the signal of a cancelled run, whose process is killed.
        """
        payload = payload_of(work, _NO_LIMITS, runtime, context)
        key = (work.function.__module__, work.function.__qualname__)
        child = self._take(key)
        try:
            frame = Exchange(child, payload, runtime, context).answer()
            end = child.wait_for_end() if frame is None else None
        except BaseException:
            child.close()
            raise
        if frame is None:
            child.close()
            raise ProcessDied(
                f"The process of {place_of(context)} ended with {end} before it returned a"
                " result.",
                end,
            )
        self._keep(key, child)
        return unpack(frame, context.node, _NO_LIMITS)

    def close(self) -> None:
        """Kill the processes without a call."""
        with self._lock:
            idle, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for one in idle:
            one.child.close()

    def _take(self, key: Key) -> ChildProcess:
        """Return an idle process for a function, or a new one."""
        while True:
            with self._lock:
                found = next((one for one in self._idle if one.key == key), None)
                if found is None:
                    break
                self._idle.remove(found)
            if _is_usable(found.child):
                return found.child
            found.child.close()
        return ChildProcess(KEPT)

    def _keep(self, key: Key, child: ChildProcess) -> None:
        with self._lock:
            self._idle.append(_Idle(key, child, time.monotonic()))
            surplus = self._idle[: -self.size]
            self._idle = self._idle[len(surplus) :]
            self._schedule()
        for one in surplus:
            one.child.close()

    def _schedule(self) -> None:
        """Start the timer that ends idle processes, unless it runs."""
        if self._timer is None and self._idle:
            seconds = self._idle[0].since + self._idle_seconds - time.monotonic()
            self._timer = threading.Timer(max(seconds, 0), self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        latest = time.monotonic() - self._idle_seconds
        with self._lock:
            ended = [one for one in self._idle if one.since <= latest]
            self._idle = [one for one in self._idle if one.since > latest]
            self._timer = None
            self._schedule()
        for one in ended:
            one.child.close()


def _is_usable(child: ChildProcess) -> bool:
    """Return whether an idle process runs, and has sent nothing that belongs to no call."""
    readable, _, _ = select.select([child.messages], [], [], 0)
    return not (readable or child.has_ended)


def place_of(context: NodeContext) -> str:
    """Return what a call belongs to, as text."""
    item = "" if context.item is None else f"item {context.item} of "
    return f"{item}node “{context.node}”"


processes: Final = KeptProcesses(available_cpus())  # of this process

# Its threads wait for the processes, so that there are never more calls than CPUs.
threads: Final = ThreadPool(available_cpus())


async def call_kept(work: Work, runtime: object, context: NodeContext) -> Any:
    """Call a function in a kept process, once a CPU is free for it, and return its result.

    Cancellation and the timeout of the try kill the process. Raises as `KeptProcesses.call`.
    """
    call: Callable[[], Any] = functools.partial(processes.call, work, runtime, context)
    call = functools.partial(call_in_node, call, context)
    return await in_thread(call, context, threads)
