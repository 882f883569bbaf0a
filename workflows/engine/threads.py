"""The thread pool for sync nodes, which run with the caller's context variables.

A thread cannot be interrupted. If a call is no longer needed, it is withdrawn before its start;
after its start it is abandoned: it releases its slot in the pool immediately, and its thread
ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

from .cancellation import no_repeated_interruption
from .context import NodeContext
from .errors import Cancelled
from .events import EventType

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

THREADS = 64  # sync nodes that run concurrently in one process; others wait
OVERDUE_SECONDS = 2.0  # that a call gets to notice that it has to stop
MAX_ABANDONED = 128  # abandoned threads; each further one occupies a slot
CHECK_SECONDS = 1.0  # between two checks whether a thread that waits was abandoned

_local = threading.local()  # .call: the one that runs in this thread


class _State(Enum):
    WAITING = "waiting"  # for a thread
    RUNNING = "running"
    ABANDONED = "abandoned"  # running, but its result is not needed
    ENDED = "ended"


class Call(Generic[Result]):
    """One call of a function in a thread, for an event loop that waits for it."""

    __slots__ = (
        "_context",
        "_error",
        "_result",
        "_work",
        "began",
        "ended",
        "loop",
        "owner",
        "pool",
        "since",
        "state",
        "waiters",
    )

    def __init__(
        self,
        work: Callable[[], Result],
        owner: NodeContext | None = None,
        within: ThreadPool | None = None,
    ) -> None:
        """`owner` is the try that needs the call, `within` the pool of its thread."""
        self.owner = owner
        self.pool = within or pool
        self.since = 0.0  # monotonic time at which it had to stop; 0 = it need not
        self.waiters: list[asyncio.Future[None]] = []  # for its end, of any event loop
        self._work: Callable[[], Result] | None = work
        self._context: contextvars.Context | None = contextvars.copy_context()
        self.loop = asyncio.get_running_loop()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self.began: asyncio.Future[None] = self.loop.create_future()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.state = _State.WAITING

    @property
    def value(self) -> Result:
        """The result after the end of the call. Raises the error of the call."""
        if self._error is not None:
            raise self._error
        return cast("Result", self._result)

    def run(self, clean_up: Callable[[], None]) -> None:
        """Call the function in this thread, then the clean-up."""
        work = cast("Callable[[], Result]", self._work)
        context = cast("contextvars.Context", self._context)
        self._work = self._context = (
            None  # so that a reference to the call keeps no state alive
        )
        _local.call = self
        try:
            self._result = context.run(_without_stop_iteration, work)
        except BaseException as error:
            self._error = error
        finally:
            _local.call = None
        context.run(clean_up)

    def notify(self, future: asyncio.Future[None]) -> None:
        """Resolve one of its futures, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            future.get_loop().call_soon_threadsafe(_resolve, future)


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of calls by state."""

    running: int
    waiting: int  # for a thread
    abandoned: int  # running, but their result is not needed


@dataclass(frozen=True, slots=True)
class OverdueCall:
    """A call that continues although its try timed out or its run was cancelled."""

    run_id: str
    node: str
    since: float  # monotonic time at which it had to stop


class ThreadPool:
    """Threads for the calls of all runs of a process. Thread-safe.

    At most `slots` calls run concurrently. An abandoned call releases its slot, unless there
    are more than `max_abandoned` of them: each further one occupies a slot until it ends.
    """

    def __init__(
        self, slots: int = THREADS, max_abandoned: int = MAX_ABANDONED
    ) -> None:
        self.slots = slots
        self.max_abandoned = max_abandoned
        self._lock = threading.Lock()
        self._waiting: deque[Call[Any]] = deque()
        self._ready: SimpleQueue[Call[Any]] = SimpleQueue()
        self._running = 0
        self._abandoned = 0
        self._idle = 0  # threads without a call
        self._started = 0
        self._calls: set[Call[Any]] = set()  # that run, also abandoned ones
        # abandoned calls that still run, by the key of their step or item
        self._leftovers: dict[str, set[Call[Any]]] = {}
        self._prepare: list[Callable[[], None]] = []
        self._clean_ups: list[Callable[[], None]] = []

    def add_hooks(
        self, *, prepare: Callable[[], None] | None = None, clean_up: Callable[[], None]
    ) -> None:
        """Call `prepare` in each new thread, and `clean_up` after each call, before its result.

        The same functions are registered only once.
        """
        if clean_up not in self._clean_ups:
            self._clean_ups.append(clean_up)
            self._prepare += [prepare] if prepare else []

    @property
    def counts(self) -> Counts:
        """The current numbers of calls."""
        with self._lock:
            return Counts(self._running, len(self._waiting), self._abandoned)

    @property
    def is_exhausted(self) -> bool:
        """Whether abandoned threads occupy slots that other calls need."""
        return self._abandoned > self.max_abandoned

    def submit(self, call: Call[Any]) -> bool:
        """Start a call, or queue it if there is no free slot; return whether it started."""
        with self._lock:
            if self._free_slots <= 0 or self._waiting:
                self._waiting.append(call)
                return False
            self._start(call)
            return True

    def withdraw(self, call: Call[Any]) -> bool:
        """Remove a queued call; return False if it has started."""
        with self._lock:
            if call.state is not _State.WAITING:
                return False
            self._waiting.remove(call)
            call.state = _State.ENDED
            return True

    def abandon(self, call: Call[Any]) -> bool:
        """Release the slot of a running call; return False if it has ended."""
        with self._lock:
            if call.state is not _State.RUNNING:
                return False
            call.state = _State.ABANDONED
            call.since = call.since or time.monotonic()
            owner = call.owner
            if owner is not None and owner.sequence:  # else a pattern, without retries
                self._leftovers.setdefault(owner.key, set()).add(call)
            self._running -= 1
            self._abandoned += 1
            self._start_waiting()
            return True

    def abandon_calls_of(self, loop: asyncio.AbstractEventLoop) -> None:
        """Abandon or withdraw all calls for an event loop that was itself abandoned."""
        with self._lock:
            calls = [
                call for call in (*self._calls, *self._waiting) if call.loop is loop
            ]
        for call in calls:
            if not self.withdraw(call):
                _abandon(call)

    def has_to_stop(self, call: Call[Any]) -> None:
        """Count a call as overdue from now on: its run was cancelled."""
        call.since = call.since or time.monotonic()

    def overdue_calls(self) -> list[OverdueCall]:
        """Return the calls that continue OVERDUE_SECONDS after they had to stop."""
        latest = time.monotonic() - OVERDUE_SECONDS
        with self._lock:
            calls = [call for call in self._calls if 0 < call.since <= latest]
        return [
            OverdueCall(call.owner.run_id, call.owner.node, call.since)
            for call in calls
            if call.owner is not None and call.owner.sequence
        ]

    def ends_of_leftovers(self, key: str) -> list[asyncio.Future[None]]:
        """Return futures for the ends of the abandoned calls of a step or item.

        They belong to the running event loop; the calls may have been made for another.
        """
        if key not in self._leftovers:
            return []
        loop = asyncio.get_running_loop()
        with self._lock:
            ends = []
            for call in self._leftovers.get(key, ()):
                ends.append(loop.create_future())
                call.waiters.append(ends[-1])
            return ends

    @property
    def _free_slots(self) -> int:
        held = max(0, self._abandoned - self.max_abandoned)
        return self.slots - self._running - held

    def _start_waiting(self) -> None:
        while self._waiting and self._free_slots > 0:
            call = self._waiting.popleft()
            self._start(call)
            call.notify(call.began)

    def _start(self, call: Call[Any]) -> None:
        if self._idle:
            self._idle -= 1
        else:
            self._started += 1
            name = f"workflow-node-{self._started}"
            # a daemon, so that the end of the process does not wait for nodes
            threading.Thread(target=self._serve_calls, name=name, daemon=True).start()
        call.state = _State.RUNNING
        self._calls.add(call)
        self._running += 1
        self._ready.put(call)

    def _serve_calls(self) -> None:
        _run_hooks(self._prepare)
        while True:
            call = self._ready.get()
            if call.state is not _State.ABANDONED:  # before its start
                call.run(lambda: _run_hooks(self._clean_ups))
            self._end(call)
            call.notify(call.ended)
            del call  # an idle thread keeps no state alive

    def _end(self, call: Call[Any]) -> None:
        with self._lock:
            self._calls.discard(call)
            if call.state is _State.ABANDONED:
                self._abandoned -= 1
                self._forget_leftover(call)
            else:
                self._running -= 1
            call.state = _State.ENDED
            self._idle += 1
            self._start_waiting()
        for waiter in call.waiters:
            call.notify(waiter)

    def _forget_leftover(self, call: Call[Any]) -> None:
        if call.owner is None or call.owner.key not in self._leftovers:
            return
        of_key = self._leftovers[call.owner.key]
        of_key.discard(call)
        if not of_key:
            del self._leftovers[call.owner.key]


def _run_hooks(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        try:
            function()
        except Exception:
            logger.exception("A hook of a node thread failed.")


pool = ThreadPool()  # one per process


async def in_thread(
    work: Callable[[], Result],
    context: NodeContext,
    within: ThreadPool | None = None,
) -> Result:
    """Run `work` in a thread, by default of the common pool, and return its result.

    1. Wait for the thread of an earlier try of this step, as two tries never run concurrently,
       then for a free slot. This does not count towards the timeout of the try, and a call that
       has not started is withdrawn on cancellation.
    2. A cancelled run waits until the thread returns, so that a repetition cannot overlap with it.
    3. A try that timed out, or whose task is cancelled, abandons the thread and sets
       `context.cancelled`.
    """
    call = Call(work, context, within)
    await _start_call(call, context)
    try:
        await asyncio.shield(call.ended)
    except asyncio.CancelledError:
        if not context.cancellation.cancelled:
            _abandon(call)
            raise
        await _wait_for_cancelled(call)
    return call.value


def is_node_thread() -> bool:
    """Return whether this thread runs a call for an event loop."""
    return getattr(_local, "call", None) is not None


def wait_for(awaitable: Awaitable[Result]) -> Result:
    """Return the result of an awaitable, which the event loop of this thread's call awaits.

    Call it where `is_node_thread`. Raises the error of the awaitable, and Cancelled if the call
    was abandoned meanwhile: its event loop may have been replaced.
    """
    call: Call[Any] = _local.call
    future = asyncio.run_coroutine_threadsafe(_awaited(awaitable), call.loop)
    while not wait([future], CHECK_SECONDS).done:
        if call.state is _State.ABANDONED:
            future.cancel()
            raise Cancelled
    return future.result()


async def _awaited(awaitable: Awaitable[Result]) -> Result:
    return await awaitable


async def _start_call(call: Call[Any], context: NodeContext) -> None:
    """Return after the start of the call; withdraw it if the task is interrupted before."""
    if leftover := call.pool.ends_of_leftovers(context.key):
        with _waiting_for_thread(context, leftover=True):
            await asyncio.wait(leftover)
    if call.pool.submit(call):
        return
    with _waiting_for_thread(context, leftover=False):
        try:
            await call.began
        except asyncio.CancelledError:
            if not call.pool.withdraw(call):
                _abandon(call)
            raise


async def _wait_for_cancelled(call: Call[Any]) -> None:
    call.pool.has_to_stop(call)
    try:
        with no_repeated_interruption():
            await asyncio.shield(call.ended)
    except asyncio.CancelledError:
        _abandon(call)  # the server stops and does not wait for threads
        raise


@contextlib.contextmanager
def _waiting_for_thread(context: NodeContext, *, leftover: bool) -> Iterator[None]:
    """Suspend the timeouts of the try and emit events at start and end of the wait."""
    item_data = {} if context.item is None else {"item_index": context.item}
    context.emit_event(EventType.THREAD_WAIT, item_data | {"leftover": leftover})
    for limit in context.limits:
        limit.pause()
    try:
        yield
    finally:
        for limit in context.limits:
            limit.resume()
        context.emit_event(EventType.THREAD_BEGIN, dict(item_data))


def _abandon(call: Call[Any]) -> None:
    context = call.owner
    if context is not None:
        context.abandoned = True
    if not call.pool.abandon(call):
        return
    logger.warning(
        "The thread of %s still runs but was abandoned; %d abandoned threads run.",
        context.key if context is not None else "a call",
        call.pool.counts.abandoned,
    )
    if call.pool.is_exhausted:
        logger.error(
            "More than %d abandoned node threads still run, so sync nodes wait for a free"
            " slot. Restart the worker, and set timeouts for the operations on which the"
            " threads block.",
            call.pool.max_abandoned,
        )


def _without_stop_iteration(call: Callable[[], Result]) -> Result:
    """Convert StopIteration, which a future cannot hold: awaiting it would never end."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError("StopIteration was raised") from error


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
