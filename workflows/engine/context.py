"""The context of a running node: its position in the run, its try and its answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from .cancellation import Cancellation
from .clock import Clock

if TYPE_CHECKING:
    from .frozen import Json
    from .outcomes import RunOutcome

Emit: TypeAlias = Callable[[str, dict[str, Any]], None]
SaveItem: TypeAlias = Callable[[int, "Json"], None]
FailItem: TypeAlias = Callable[[int, BaseException], None]
CheckChild: TypeAlias = Callable[["NodeContext", str, "Json"], Awaitable["Json"]]
"""Takes the node's context, a workflow name and its params; returns the params as stored.

Raises RequestError if the workflow does not exist or does not accept the params."""


class Launcher(Protocol):
    """Launches runs for the nodes of one run. Raises RequestError for runs that cannot start."""

    async def launch(self, context: NodeContext, workflow: str, params: Json) -> str:
        """Return the id of the run that a step launches, the same for every repetition."""

    async def prepare_successor(self, context: NodeContext, params: Json) -> None:
        """Check and keep the params with which the run continues as a new one at its end."""


OpenCallback: TypeAlias = Callable[["NodeContext", datetime | None], Awaitable[str]]
"""Takes the node's context and the expiry of a callback; returns its address.

"" if a message has arrived at it already, in an earlier try."""
SavedItems: TypeAlias = Callable[[], Mapping[int, "Json"]]


MIN_BEATS = 10  # more than so many in the time of one heartbeat are not counted


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a paused node."""

    value: Json = None  # the content of the form, or the result of the child run
    by: str = ""  # the name of the user
    at: datetime | None = None
    comment: str = ""
    expired: bool = False  # there was no response in time
    error: str = ""  # why there is no value: how the child run ended
    votes: tuple[Answer, ...] = ()  # of distinct persons, to an approval with `votes=`
    choice: str = ""  # which of several waits ended, by the name of its node


class TryLimit:
    """The timeout of one try, suspended while the try waits for a thread."""

    __slots__ = ("_left", "_loop", "_pauses", "_timeout")

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pauses = 0
        self._left: float | None = None  # seconds, while suspended

    def pause(self) -> None:
        """Suspend the timeout until `resume` was called as often as this method."""
        self._pauses += 1
        when = self._timeout.when()
        if self._pauses == 1 and when is not None and not self._timeout.expired():
            self._left = when - self._loop.time()
            self._timeout.reschedule(None)

    def resume(self) -> None:
        """Continue the timeout after the last `pause`."""
        self._pauses -= 1
        if self._pauses == 0 and self._left is not None:
            self._timeout.reschedule(self._loop.time() + self._left)
            self._left = None


class HeartbeatLimit(TryLimit):
    """The heartbeat of one try: a timeout that each report of progress restarts."""

    __slots__ = ("_beaten_at", "_seconds", "_thread")

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        super().__init__(timeout)
        self._seconds = seconds
        self._beaten_at = self._loop.time()
        self._thread = threading.get_ident()

    def beat(self) -> None:
        """Restart the timeout. Thread-safe, and cheap enough for each turn of a loop."""
        now = self._loop.time()
        if now - self._beaten_at < self._seconds / MIN_BEATS:
            return
        self._beaten_at = now
        if threading.get_ident() == self._thread:
            self._restart()
        else:
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._restart)

    def _restart(self) -> None:
        # a beat that is skipped must not shorten the time after the one that counted
        seconds = self._seconds * (1 + 1 / MIN_BEATS)
        if self._left is not None:
            self._left = seconds
        elif self._timeout.when() is not None and not self._timeout.expired():
            self._timeout.reschedule(self._loop.time() + seconds)


def _no_saved_items() -> Mapping[int, Json]:
    return {}


@dataclass(slots=True)
class NodeContext:
    """One try of one step of one run; the argument of `Runtime.at`."""

    run_id: str
    node: str
    sequence: int  # number of the step in the run, the same in every attempt
    iteration: int  # number of the step in this attempt
    cancellation: Cancellation
    clock: Clock
    try_number: int = 1
    last_try: int = 0  # on the context of the first try; 0: there was no other
    try_after: float = (
        0.0  # seconds to wait first, left over from an interrupted attempt
    )
    answer: Answer | None = None
    emit: Emit | None = None  # None: no observer
    save_item: SaveItem | None = None  # None: the store does not store items
    saved_items: SavedItems = _no_saved_items
    fail_item: FailItem | None = None  # None: the store does not record why items fail
    check_child: CheckChild | None = None  # None: params of children are not checked
    open_callback: OpenCallback | None = None  # None: the store has no addresses
    position: int = 0  # among the waits of a step
    launcher: Launcher | None = None  # None: nothing can be launched
    item: int | None = None  # index of the item of a parallel node
    outcome: RunOutcome | None = None  # of an on_end node
    abandoned: bool = False  # the try timed out while its thread still runs
    limits: list[TryLimit] = field(default_factory=list)  # of the running tries
    heartbeat: HeartbeatLimit | None = None  # of this try

    @property
    def key(self) -> str:
        """The idempotency key of this step or item, the same for every repetition."""
        key = f"{self.run_id}/{self.node}/{self.sequence}"
        return key if self.item is None else f"{key}/{self.item}"

    @property
    def cancelled(self) -> bool:
        """Whether to stop: on cancellation or deadline of the run, or timeout of this try."""
        return self.abandoned or self.cancellation.cancelled

    def beat(self) -> None:
        """Report that the try still works. Thread-safe; without a heartbeat it does nothing."""
        if self.heartbeat is not None:
            self.heartbeat.beat()

    def for_try(self, number: int) -> NodeContext:
        """Return the context of another try of the same step."""
        return replace(
            self, try_number=number, try_after=0.0, abandoned=False, heartbeat=None
        )

    def for_item(self, index: int, cancellation: Cancellation) -> NodeContext:
        """Return the context of one item of a parallel node, without answer and stored items."""
        return replace(
            self,
            item=index,
            cancellation=cancellation,
            try_number=1,
            try_after=0.0,
            answer=None,
            save_item=None,
            saved_items=_no_saved_items,
            fail_item=None,
            limits=[],
            heartbeat=None,
        )

    def emit_event(self, event: str, data: dict[str, Any]) -> None:
        """Emit an event of this step unless the graph has no observer."""
        if self.emit is not None:
            place = (
                {"node": self.node, "sequence": self.sequence} if self.sequence else {}
            )
            self.emit(event, data | place)


_context_by_node_task: dict[asyncio.Task[Any], NodeContext] = {}
"""The tasks of nodes, which end their entry: a weak dictionary would cost several times as much."""

_context_by_task: WeakKeyDictionary[asyncio.Task[Any], NodeContext] = (
    WeakKeyDictionary()
)
"""Tasks that code of a node or the engine started in between."""


def begin_node_task(task: asyncio.Task[Any], context: NodeContext) -> None:
    """Register a try as the one that a new task runs, until `end_node_task`."""
    _context_by_node_task[task] = context


def end_node_task(task: asyncio.Task[Any]) -> None:
    """Forget the try of a task that has ended."""
    del _context_by_node_task[task]


def set_current_context(context: NodeContext) -> None:
    """Register this try as the one that the current task runs."""
    task = asyncio.current_task()
    if task in _context_by_node_task:
        _context_by_node_task[task] = context
    elif task is not None:
        _context_by_task[task] = context


def attribute_task(task: asyncio.Task[Any], context: NodeContext) -> None:
    """Count a task as part of this try."""
    _context_by_task[task] = context


def inherit_context(task: asyncio.Task[Any]) -> None:
    """Count a new task as part of the try whose code starts it, if the current task has one."""
    # of the task's loop, which may not run: others make tasks on it when they close it
    parent = asyncio.current_task(task.get_loop())
    if parent is not None and (context := context_of_task(parent)) is not None:
        _context_by_task[task] = context


def context_of_task(task: asyncio.Task[Any]) -> NodeContext | None:
    """Return the try that a task of a run started last. Thread-safe."""
    return _context_by_node_task.get(task) or _context_by_task.get(task)
