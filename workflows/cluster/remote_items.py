"""An item on a worker of the cluster: `run_item`, which the scheduler gives to a worker.

Sync functions run in kept child processes, so that author code ends no worker and several items
use several CPUs; async ones run here, in an event loop of their own. What an item sends is
collected by the process of the run: only a note that there is something goes by the scheduler,
which keeps it for a while.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from workflows.cluster import remote_runtime
from workflows.engine import Cancellation, NodeContext, SystemClock, isolation
from workflows.engine.author_code import await_contained
from workflows.engine.isolated_call import (
    dump_error,
    find_function,
    frame_of,
    set_up,
)
from workflows.engine.isolated_frames import ERROR, Frame, dump, load
from workflows.engine.isolation import Work
from workflows.engine.kept_processes import KeptProcesses, available_cpus
from workflows.engine.nodes import is_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Worker

    from workflows.runtime.isolated import ChildRuntime

CHECK_SECONDS: Final = 0.5  # between two checks whether the item is still wanted
STARTED: Final = "started"
LOG: Final = "log"
PROGRESS: Final = "progress"
REQUEST: Final = "request"

Message = tuple[str, bytes]  # kind and content


@dataclass(frozen=True, slots=True)
class RemoteItem:
    """What a worker has to know of an item. The value and the Runtime are pickled apart."""

    module: str
    name: str
    accepts_runtime: bool
    run_id: str
    node: str
    sequence: int
    iteration: int
    try_number: int
    index: int | None
    setups: tuple[str, ...]  # functions to call first, where Django is configured


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a part of the run's Runtime."""

    number: int
    part: str
    method: str
    values: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an item, with what it sent and nobody has collected."""

    messages: list[Message]
    kind: bytes  # of a frame
    body: bytes


processes: Final = KeptProcesses(available_cpus())
_links: dict[str, Link] = {}  # by call, of the items that this process runs


def run_item(call_id: str, topic: str, item: bytes, content: bytes) -> Ended:
    """Call the function of an item, and return its result or its error."""
    from distributed import get_worker  # noqa: PLC0415 - on a worker only

    worker = get_worker()
    link = Link(worker, worker.get_current_task(), call_id, topic)
    _links[call_id] = link
    try:
        with link.watching():
            frame = _answer(load(item), content, link)
    finally:
        _links.pop(call_id, None)
    return Ended(link.close(), frame.kind, frame.body)


def collect(call_id: str) -> list[Message]:
    """Return what an item has sent since the last call of this function."""
    link = _links.get(call_id)
    return [] if link is None else link.collect()


def deliver(call_id: str, number: int, kind: bytes, body: bytes) -> None:
    """Answer a request of an item."""
    link = _links.get(call_id)
    if link is not None:
        link.deliver(number, Frame(kind, body))


class Link:
    """The way from an item to the process of its run. Thread-safe."""

    def __init__(self, worker: Worker, key: Any, call_id: str, topic: str) -> None:
        self.cancellation = Cancellation()
        self._worker, self._key = worker, key
        self._call_id, self._topic = call_id, topic
        self._lock = threading.Lock()
        self._messages: list[Message] = []
        self._replies: dict[int, Future[Any]] = {}
        self._requests = 0
        self._ended = threading.Event()
        self.post(STARTED, worker.address.encode())

    def post(self, kind: str, body: bytes) -> None:
        """Keep a message for the run, and note that there is one."""
        with self._lock:
            is_first = not self._messages
            self._messages.append((kind, body))
        if is_first:
            note = {"call": self._call_id, "worker": self._worker.address}
            self._worker.log_event(self._topic, note)

    def log(self, level: str, message: str) -> None:
        """Send a line for the log of the run."""
        self.post(LOG, dump((level, message)))

    def progress(self, done: object, of: object, text: object) -> None:
        """Send a report of progress."""
        self.post(PROGRESS, dump((done, of, text)))

    async def request(
        self, part: str, method: str, *values: Any, **options: Any
    ) -> Any:
        """Return what the part of the run's Runtime returns. Raises what it raises."""
        reply: Future[Any] = Future()
        with self._lock:
            self._requests += 1
            number = self._requests
            self._replies[number] = reply
        self.post(REQUEST, dump(Request(number, part, method, values, options)))
        return await asyncio.wrap_future(reply)

    def deliver(self, number: int, frame: Frame) -> None:
        """Answer a request."""
        with self._lock:
            reply = self._replies.pop(number, None)
        if reply is None or not reply.set_running_or_notify_cancel():
            return
        try:
            content = load(frame.body)
        except BaseException as error:
            reply.set_exception(error)
            return
        if frame.kind == ERROR:
            is_error = isinstance(content, BaseException)
            reply.set_exception(content if is_error else RuntimeError(str(content)))
        else:
            reply.set_result(content)

    def collect(self) -> list[Message]:
        """Return the messages so far, and forget them."""
        with self._lock:
            messages, self._messages = self._messages, []
            return messages

    def close(self) -> list[Message]:
        """Return the messages that were not collected."""
        return self.collect()

    def watching(self) -> _Watch:
        """Stop the item as soon as nobody wants its result, for example if the run ended."""
        return _Watch(self)

    def is_wanted(self) -> bool:
        """Return whether the scheduler still waits for this item, and is reachable."""
        task = self._worker.state.tasks.get(self._key)
        is_running = task is not None and task.state in {"executing", "long-running"}
        return is_running and self._worker.status.name == "running"


class _Watch:
    """A thread that cancels an item that is not wanted any more."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ended = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, name="item-watch", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(CHECK_SECONDS):
            if not self._link.is_wanted():
                self._link.cancellation.cancel("its result is not needed any more")
                return


def _answer(item: RemoteItem, content: bytes, link: Link) -> Frame:
    try:
        setups = item.setups if "DJANGO_SETTINGS_MODULE" in os.environ else ()
        set_up(setups)
        for setup in setups:
            isolation.set_up_children(setup)
        function = find_function(item.module, item.name)
        context = NodeContext(
            run_id=item.run_id,
            node=item.node,
            sequence=item.sequence,
            iteration=item.iteration,
            cancellation=link.cancellation,
            clock=SystemClock(),
            try_number=item.try_number,
            item=item.index,
        )
        value, given = load(content)
        result = _call(function, item, value, _runtime(given, context, link), context)
    except BaseException as error:
        return Frame(ERROR, dump_error(error))
    return frame_of(result)


def _runtime(given: ChildRuntime | None, context: NodeContext, link: Link) -> Any:
    return None if given is None else remote_runtime.connect(given, context, link)


def _call(
    function: Callable[..., Any],
    item: RemoteItem,
    value: object,
    runtime: Any,
    context: NodeContext,
) -> Any:
    if not is_async(function):
        work = Work(function, value, item.accepts_runtime)
        return processes.call(work, runtime, context)
    values = (value, runtime) if item.accepts_runtime else (value,)
    return asyncio.run(_call_async(function, values, context))


async def _call_async(
    function: Callable[..., Any], values: tuple[Any, ...], context: NodeContext
) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(await_contained(function(*values), context))

    def stop(_: Cancellation) -> None:
        loop.call_soon_threadsafe(task.cancel)

    with context.cancellation.subscribed(stop):
        return await task


def new_call_id() -> str:
    """Return an id for a call."""
    return uuid4().hex
