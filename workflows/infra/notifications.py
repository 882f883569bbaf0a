"""Notifications: small messages without content. A lost one delays an update and loses no data.

workers          a run is pending              → a worker checks the queue
workers          a run is to be cancelled      → its worker cancels it
pages            runs have new versions        → their open pages and the lists render again
pages            permissions have changed      → every open page checks them again
pages            a person has hidden approvals  → the open pages of the person do the same
pages            an agent's response has grown → the run's open pages render it again
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from channels.layers import get_channel_layer
from django.db import transaction

from workflows.infra import outages
from workflows.infra.background_loop import BackgroundLoop
from workflows.infra.database_threads import calling_loop
from workflows.infra.outages import ChannelLayerUnavailable

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Mapping,
    )
    from uuid import UUID

    from channels.layers import BaseChannelLayer

WORKERS = "workers"
PAGES = "pages"
STREAM_PREVIEW = "run.words"  # the type of the message that a response has grown
SEND_TIMEOUT_SECONDS = 2.0  # of the channel layer, for one message
MAX_TRIES = 3
COOLDOWN_SECONDS = 1.0  # without messages after one that could not be sent
PAUSE_SECONDS = 0.1  # between two messages to pages: about ten a second
PENDING_PAUSE_SECONDS = 0.01  # between two messages to workers, while runs are launched


def changed(versions: Mapping[UUID, int | None]) -> dict[str, object]:
    """Return the message that these runs have changed; None means any version."""
    by_id = {str(run_id): version for run_id, version in versions.items()}
    return {"type": "runs.changed", "versions": by_id}


async def send(to: str, message: Mapping[str, object]) -> bool:
    """Send a message to a group; return False if the channel layer is unavailable.

    A lost message is made up for by the sweep. After a failure nothing is sent for
    COOLDOWN_SECONDS, so that a layer that does not respond delays no sender of many
    messages.
    """
    layer = get_channel_layer()
    if layer is None or _is_cooling_down():
        return False
    try:
        await _with_retries(lambda: layer.group_send(to, dict(message)))
    except ChannelLayerUnavailable as error:
        _cooldown.until = time.monotonic() + COOLDOWN_SECONDS
        outages.messages.report_failure(error)
        return False
    outages.messages.report_success()
    return True


class _Cooldown:
    until = 0.0  # on the monotonic clock; nothing is sent before


_cooldown = _Cooldown()


def _is_cooling_down() -> bool:
    return time.monotonic() < _cooldown.until


async def join(to: str, channel: str) -> None:
    """Add a channel to a group, of which it may be a member already.

    Raises ChannelLayerUnavailable.
    """
    layer = get_channel_layer()
    if layer is None:
        return
    await _with_retries(lambda: layer.group_add(to, channel))
    outages.messages.report_success()


async def _with_retries(call: Callable[[], Awaitable[object]]) -> None:
    """Call the channel layer. Raises ChannelLayerUnavailable if all tries fail.

    Connections from before a restart of the layer fail at their next use, so that a single
    failure is no sign of an outage.
    """
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            for _ in range(MAX_TRIES):
                try:
                    await call()
                except Exception as error:
                    failed = error
                else:
                    return
    except TimeoutError as error:
        raise ChannelLayerUnavailable(
            f"no answer within {SEND_TIMEOUT_SECONDS:g} s"
        ) from error
    raise ChannelLayerUnavailable(str(failed)) from failed


@dataclass(slots=True)
class Subscription:
    """A channel that is a member of a group.

    A membership expires (`group_expiry` in the settings), so that channels of processes that were
    killed leave the group; `next` renews it.
    """

    layer: BaseChannelLayer
    channel: str
    group: str
    silence: float | None = (
        None  # seconds without a message, after which it joins again
    )
    _joined: float = field(default_factory=time.monotonic)
    _last_message_at: float = field(default_factory=time.monotonic)  # the last message

    async def next(self) -> dict[str, Any]:
        """Return the next message, an empty one after `silence` seconds without any.

        A layer that was emptied has lost its groups and messages: the channel then joins
        the group again. So it does every `silence` seconds while there are messages.
        Raises ChannelLayerUnavailable.
        """
        while True:
            message = await self._receive()
            if message is not None:
                self._last_message_at = time.monotonic()
                return message
            await join(self.group, self.channel)
            self._joined = time.monotonic()
            if self._joined >= self._last_message_at + (self.silence or 0):
                self._last_message_at = self._joined
                return {}

    async def _receive(self) -> dict[str, Any] | None:
        """Return the next message, None when it is time to join again."""
        timeout = asyncio.timeout(None)
        if self.silence is not None:
            seconds = (
                min(self._joined, self._last_message_at)
                + self.silence
                - time.monotonic()
            )
            if seconds <= 0:
                return None
            timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                message: dict[str, Any] = await self.layer.receive(self.channel)
                return message
        except Exception as error:
            if not timeout.expired():
                raise ChannelLayerUnavailable(str(error)) from error
        return None


@asynccontextmanager
async def subscribe(
    to: str, *, silence: float | None = None
) -> AsyncIterator[Subscription]:
    """Give a subscription to a group. Raises ChannelLayerUnavailable."""
    layer = get_channel_layer()
    if layer is None:
        raise ChannelLayerUnavailable("none is configured")
    channel = await layer.new_channel()
    await join(to, channel)
    try:
        yield Subscription(layer, channel, to, silence)
    finally:
        await leave(to, channel)


async def leave(to: str, channel: str) -> None:
    """Remove a channel from a group; an unavailable layer expires it on its own."""
    layer = get_channel_layer()
    if layer is None:
        return
    with suppress(Exception):  # each layer has its own exceptions
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await layer.group_discard(to, channel)


# Each of these sends after the commit of the current transaction, or immediately outside of one.


def pending_on_commit() -> None:
    """Notify the workers that a run is pending."""
    _on_commit(lambda: announcer().pending())


def launched_on_commit() -> None:
    """Notify the workers and the lists of a new run; its page is not open anywhere yet."""

    def announce() -> None:
        announcer().pending()
        announcer().committed({})

    _on_commit(announce)


def lists_changed_on_commit() -> None:
    """Notify the lists that they have changed."""
    _on_commit(lambda: announcer().committed({}))


def changed_on_commit(*run_ids: UUID) -> None:
    """Notify the pages of these runs, and the lists."""
    _on_commit(lambda: announcer().committed(dict.fromkeys(run_ids)))


def cancel_on_commit(run_id: UUID) -> None:
    """Notify the worker that holds this run to cancel it."""
    _send_on_commit(WORKERS, {"type": "run.cancel", "run": str(run_id)})


def permissions_changed_on_commit() -> None:
    """Notify all open pages to check the permissions of their viewers again."""
    _send_on_commit(PAGES, {"type": "permissions.changed", "permissions": True})


def person_changed_on_commit(person_id: int) -> None:
    """Notify the open pages of a person that lists show something else to this person."""
    _send_on_commit(PAGES, {"type": "person.changed", "person": person_id})


def _on_commit(announce: Callable[[], None]) -> None:
    async def on_loop() -> None:
        announce()

    transaction.on_commit(lambda: _from_thread(on_loop))


def _send_on_commit(to: str, message: Mapping[str, object]) -> None:
    transaction.on_commit(lambda: _from_thread(lambda: send(to, message)))


def _from_thread(notify: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Notify on the event loop that called this thread: channels belong to their loop.

    Nothing waits for the result: the data is committed already. In a command, which has no
    event loop, the first notification is waited for, so that the loop in the background is
    connected: what is left at the end of the process can be sent then.
    """
    loop = calling_loop() or getattr(SyncToAsync.threadlocal, "main_event_loop", None)
    if loop is not None and loop.is_running():
        asyncio.run_coroutine_threadsafe(notify(), loop)
    elif _background.is_running:
        _background.submit(notify())
    else:
        _background.submit(_notify_and_drain(notify)).result()


async def _notify_and_drain(
    notify: Callable[[], Coroutine[Any, Any, object]],
) -> None:
    await notify()
    await _drain()


async def _drain() -> None:
    await announcer().drain()


_background = BackgroundLoop(at_exit=_drain)


class Throttle:
    """Performs an action when requested, and at most once more at the end of the pause.

    The last request is therefore always followed by the action, and requests are cheap.
    A failed action is repeated after COOLDOWN_SECONDS.
    """

    def __init__(self, action: Callable[[], Awaitable[bool]], pause: float) -> None:
        """`action` returns False if it failed; `pause` is in seconds."""
        self._action = action
        self._pause = pause
        self._is_requested = False
        self._is_draining = False  # a failed action is not repeated
        self._is_performing = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Request the action; call it on the event loop."""
        self._is_requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._perform())

    def request_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Request the action from another thread than that of its event loop.

        The loop is woken only if the action is not being performed: many requests in a row
        cost one wake-up per pause.
        """
        self._is_requested = True
        if not self._is_performing:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self.request)

    async def _perform(self) -> None:
        while self._is_requested:
            self._is_performing = True
            try:
                await self._perform_requested()
            finally:
                # before the check above: a thread that still saw True has requested
                self._is_performing = False

    async def _perform_requested(self) -> None:
        while self._is_requested:
            self._is_requested = False
            if await self._action():
                if not self._is_draining:
                    await asyncio.sleep(self._pause)
            elif not self._is_draining:
                self._is_requested = True
                await asyncio.sleep(COOLDOWN_SECONDS)

    async def drain(self) -> None:
        """Wait until all requests were served, or failed twice."""
        self._is_draining = True
        if self._is_requested:  # by a thread
            self.request()
        if self._task is not None:
            await self._task
        self._is_draining = False


class Announcer:
    """Announces committed changes; many runs cost no more messages than one.

    Pages are notified at most about ten times a second, of all runs in one message;
    workers at most a hundred times a second.
    """

    def __init__(self) -> None:
        self._unsent: dict[UUID, int | None] = {}
        self._from_threads: deque[Mapping[UUID, int | None]] = deque()
        self._changes = Throttle(self._send_changes, PAUSE_SECONDS)
        self._pending = Throttle(self._send_pending, PENDING_PAUSE_SECONDS)

    def committed(self, versions: Mapping[UUID, int | None]) -> None:
        """Announce new versions of runs; without any, notify only the lists."""
        self._unsent = _merged(self._unsent, versions)
        self._changes.request()

    def committed_in_thread(
        self, loop: asyncio.AbstractEventLoop, versions: Mapping[UUID, int | None]
    ) -> None:
        """Announce new versions of runs from any thread; `loop` is the announcer's."""
        self._from_threads.append(versions)
        self._changes.request_from_thread(loop)

    def pending(self) -> None:
        """Announce that a run is pending."""
        self._pending.request()

    async def _send_changes(self) -> bool:
        while self._from_threads:
            self._unsent.update(self._from_threads.popleft())
        versions, self._unsent = self._unsent, {}
        if await send(PAGES, changed(versions)):
            return True
        self._unsent = _merged(versions, self._unsent)
        return False

    async def _send_pending(self) -> bool:
        return await send(WORKERS, {"type": "runs.pending"})

    async def drain(self) -> None:
        """Wait until everything was sent, or failed twice."""
        await self._changes.drain()
        await self._pending.drain()


def _merged(
    earlier: Mapping[UUID, int | None], later: Mapping[UUID, int | None]
) -> dict[UUID, int | None]:
    """Return what to announce of both: a version does not include that any may be new."""
    merged = {**earlier, **later}
    merged.update((run, None) for run, version in earlier.items() if version is None)
    return merged


_announcers: WeakKeyDictionary[asyncio.AbstractEventLoop, Announcer] = (
    WeakKeyDictionary()
)


def announcer() -> Announcer:
    """Return the announcer of the running event loop."""
    return _announcers.setdefault(asyncio.get_running_loop(), Announcer())
