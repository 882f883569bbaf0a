"""What a running node is told: where it stands, which try this is, and what a person answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from .cancellation import Cancellation
from .clock import Clock

if TYPE_CHECKING:
    from .frozen import Json

Emit: TypeAlias = Callable[[str, dict[str, Any]], None]
KeepItem: TypeAlias = Callable[[int, "Json"], None]
CheckChild: TypeAlias = Callable[["NodeContext", str, "Json"], Awaitable["Json"]]
"""Takes the node's context, the name of a workflow and params for it; returns the params as they
are stored. Raises RequestError when there is no such workflow or it does not take them."""
KeptItems: TypeAlias = Callable[[], Mapping[int, "Json"]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a paused node was waiting for."""

    value: Json = None  # the form's content, or the result of the child run
    by: str = ""  # who answered
    at: datetime | None = None
    comment: str = ""
    expired: bool = False  # no one answered in time
    error: str = ""  # why there is no value: how the child run ended, in words


class TryLimit:
    """The timeout of one try, which stands still while the try waits for a thread."""

    __slots__ = ("_left", "_loop", "_pauses", "_timeout")

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pauses = 0
        self._left: float | None = None  # seconds, while it stands still

    def pause(self) -> None:
        """Let no time pass until `go_on` was called as often as this."""
        self._pauses += 1
        when = self._timeout.when()
        if self._pauses == 1 and when is not None and not self._timeout.expired():
            self._left = when - self._loop.time()
            self._timeout.reschedule(None)

    def resume(self) -> None:
        """Let time pass again."""
        self._pauses -= 1
        if self._pauses == 0 and self._left is not None:
            self._timeout.reschedule(self._loop.time() + self._left)
            self._left = None


def _no_kept_items() -> Mapping[int, Json]:
    return {}


@dataclass(slots=True)
class NodeContext:
    """One try of one step of one run; what `Runtime.at` is given."""

    run_id: str
    node: str
    sequence: int  # the step's number in the run, the same in every attempt
    iteration: int  # its number in this attempt
    cancellation: Cancellation
    clock: Clock
    try_number: int = 1
    try_after: float = 0.0  # seconds that an interrupted attempt had yet to wait for it
    answer: Answer | None = None
    emit: Emit | None = None  # None: no one listens
    keep_item: KeepItem | None = None  # None: the store keeps no items
    kept_items: KeptItems = _no_kept_items
    check_child: CheckChild | None = None  # None: what a child takes is not known
    item: int | None = None  # which item of a parallel node this is
    abandoned: bool = False  # the try timed out while its thread still works
    limits: list[TryLimit] = field(default_factory=list)  # of the tries under way

    @property
    def key(self) -> str:
        """The same for every repetition of this step or item: an idempotency key."""
        key = f"{self.run_id}/{self.node}/{self.sequence}"
        return key if self.item is None else f"{key}/{self.item}"

    @property
    def cancelled(self) -> bool:
        """Whether to stop: the run is cancelled or late, or no one waits for this try."""
        return self.abandoned or self.cancellation.cancelled

    def for_try(self, number: int) -> NodeContext:
        """The same place, another try."""
        return replace(self, try_number=number, try_after=0.0, abandoned=False)

    def for_item(self, index: int, cancellation: Cancellation) -> NodeContext:
        """The place of one item of a parallel node; it has nothing to answer or keep."""
        return replace(
            self,
            item=index,
            cancellation=cancellation,
            try_number=1,
            try_after=0.0,
            answer=None,
            keep_item=None,
            kept_items=_no_kept_items,
            limits=[],
        )

    def emit_event(self, event: str, data: dict[str, Any]) -> None:
        """Emit an event of this step, when anyone listens."""
        if self.emit is not None:
            place = (
                {"node": self.node, "sequence": self.sequence} if self.sequence else {}
            )
            self.emit(event, data | place)


_context_by_task: WeakKeyDictionary[asyncio.Task[Any], NodeContext] = (
    WeakKeyDictionary()
)


def set_current_context(context: NodeContext) -> None:
    """Note that the current task runs this try from now on."""
    if task := asyncio.current_task():
        _context_by_task[task] = context


def place_of(task: asyncio.Task[Any]) -> NodeContext | None:
    """The try that a task of a run began last; safe to ask from any thread."""
    return _context_by_task.get(task)
