"""Nudges: tiny messages that say "look again". Losing one costs a moment, never truth.

workers          a run is pending            → a worker looks at the queue
workers          a run shall stop            → its worker cancels it
pages            these runs have new versions → their open pages and the lists render again
pages            rights have changed         → every open page looks whether it may go on
pages            an agent's answer has grown  → the run's open pages render it again
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync, async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from workflows.infra import outages
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
STREAM_PREVIEW = "run.words"  # the type of a nudge: an agent's answer has grown
SEND_SECONDS = 2.0  # that the channel layer gets for one nudge
TRIES = 3
REST_SECONDS = 1.0  # without nudges after one that did not go out
PAUSE_SECONDS = 0.1  # between two nudges of pages: about ten a second
PENDING_PAUSE_SECONDS = 0.01  # between two nudges of workers, while runs are launched


def changed(versions: Mapping[UUID, int | None]) -> dict[str, object]:
    """Return the message that these runs have changed; None: to whatever version."""
    told = {str(run_id): version for run_id, version in versions.items()}
    return {"type": "runs.changed", "versions": told}


async def send(to: str, message: Mapping[str, object]) -> bool:
    """Send a nudge, unless the channel layer is away: the sweep is the net.

    Tells whether it went out. After a failure nothing is sent for a moment, so that a
    layer that does not answer holds up nobody who has many nudges to send.
    """
    layer = get_channel_layer()
    if layer is None or _resting():
        return False
    try:
        await _with_retries(lambda: layer.group_send(to, dict(message)))
    except ChannelLayerUnavailable as error:
        _cooldown.until = time.monotonic() + REST_SECONDS
        outages.messages.met(error)
        return False
    outages.messages.report_success()
    return True


class _Cooldown:
    until = 0.0  # on the monotonic clock; no nudge is sent before


_cooldown = _Cooldown()


def _resting() -> bool:
    return time.monotonic() < _cooldown.until


async def join(to: str, channel: str) -> None:
    """Let a channel hear a group, once more if it did before. Raises Unheard."""
    layer = get_channel_layer()
    if layer is None:
        return
    await _with_retries(lambda: layer.group_add(to, channel))
    outages.messages.report_success()


async def _with_retries(deed: Callable[[], Awaitable[object]]) -> None:
    """Do something with the channel layer. Raises Unheard when that is in vain.

    Connections kept from before the layer was started again fail at their next use, so
    that one failure means nothing yet.
    """
    try:
        async with asyncio.timeout(SEND_SECONDS):
            for _ in range(TRIES):
                try:
                    await deed()
                except Exception as error:
                    failed = error
                else:
                    return
    except TimeoutError as error:
        raise ChannelLayerUnavailable(f"no answer within {SEND_SECONDS:g} s") from error
    raise ChannelLayerUnavailable(str(failed)) from failed


@dataclass(frozen=True, slots=True)
class Subscription:
    """A channel that hears a group."""

    layer: BaseChannelLayer
    channel: str
    group: str
    silence: float | None = None  # seconds, after which it joins once more

    async def next(self) -> dict[str, Any]:
        """Return the next message, an empty one after a silence.

        A layer that was emptied forgot who listens, and what it had to say: so the group
        is joined again. Raises Unheard when the layer is lost.
        """
        patience = asyncio.timeout(self.silence)
        try:
            async with patience:
                return await self.layer.receive(self.channel)
        except Exception as error:
            if not patience.expired():
                raise ChannelLayerUnavailable(str(error)) from error
        await join(self.group, self.channel)
        return {}


@asynccontextmanager
async def subscribe(
    to: str, *, silence: float | None = None
) -> AsyncIterator[Subscription]:
    """Give what hears the messages of a group. Raises Unheard."""
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
    """Let a channel hear a group no longer; a layer that is away forgets it by itself."""
    layer = get_channel_layer()
    if layer is None:
        return
    with suppress(Exception):  # each layer raises something else
        async with asyncio.timeout(SEND_SECONDS):
            await layer.group_discard(to, channel)


# Each of these tells once the current transaction is committed; at once outside of one.


def pending_on_commit() -> None:
    """Tell the workers that a run is waiting."""
    _on_commit(lambda: announcer().pending())


def launched_on_commit() -> None:
    """Tell the workers of a new run, and the lists; nobody has its page open yet."""
    pending_on_commit()
    lists_changed_on_commit()


def lists_changed_on_commit() -> None:
    """Tell the lists to look again."""
    _on_commit(lambda: announcer().committed({}))


def changed_on_commit(*run_ids: UUID) -> None:
    """Tell the pages of these runs, and the lists, to look again."""
    _on_commit(lambda: announcer().committed(dict.fromkeys(run_ids)))


def cancel_on_commit(run_id: UUID) -> None:
    """Tell the worker that has this run to stop it."""
    _send_on_commit(WORKERS, {"type": "run.cancel", "run": str(run_id)})


def rights_changed_on_commit() -> None:
    """Tell all open pages to look whether their viewers may still see them."""
    _send_on_commit(PAGES, {"type": "rights.changed", "rights": True})


def _on_commit(tell: Callable[[], None]) -> None:
    async def ask() -> None:
        tell()

    transaction.on_commit(lambda: _from_thread(ask))


def _send_on_commit(to: str, message: Mapping[str, object]) -> None:
    transaction.on_commit(lambda: _from_thread(lambda: send(to, message)))


def _from_thread(tell: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Tell on the event loop this thread works for: channels belong to their loop.

    Nobody waits for it there: what a message says is in the database already.
    """
    loop = calling_loop() or getattr(SyncToAsync.threadlocal, "main_event_loop", None)
    if loop is None or not loop.is_running():
        async_to_sync(_drained)(tell)  # a command, which has none
    else:
        asyncio.run_coroutine_threadsafe(tell(), loop)


async def _drained(tell: Callable[[], Coroutine[Any, Any, object]]) -> None:
    await tell()
    await announcer().drain()


class Throttle:
    """Does something when asked, at once; asked again within a pause, once at its end.

    What is asked for last is therefore never left undone, and asking costs nothing. What
    came to nothing is done again a little later.
    """

    def __init__(self, deed: Callable[[], Awaitable[bool]], pause: float) -> None:
        """Take what it does, which tells whether it was done, and the seconds after it."""
        self._deed = deed
        self._pause = pause
        self._is_asked = False
        self._is_last = False  # what comes to nothing now is left undone
        self._going: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """See to it that it is done from now on; called on the event loop."""
        self._is_asked = True
        if self._going is None or self._going.done():
            self._going = asyncio.get_running_loop().create_task(self._go())

    async def _go(self) -> None:
        while self._is_asked:
            self._is_asked = False
            if await self._deed():
                await asyncio.sleep(self._pause)
            elif not self._is_last:
                self._is_asked = True
                await asyncio.sleep(REST_SECONDS)

    async def drain(self) -> None:
        """Wait until all that was asked for is done, or came to nothing once more."""
        self._is_last = True
        if self._going is not None:
            await self._going
        self._is_last = False


class Announcer:
    """Announces what was committed, so that many runs cost no more messages than one.

    Pages hear of changes at most about ten times a second, of all runs in one message;
    workers of what is pending at most a hundred times.
    """

    def __init__(self) -> None:
        """Start with nothing to tell."""
        self._untold: dict[UUID, int | None] = {}
        self._changes = Throttle(self._send_changes, PAUSE_SECONDS)
        self._pending = Throttle(self._send_pending, PENDING_PAUSE_SECONDS)

    def committed(self, versions: Mapping[UUID, int | None]) -> None:
        """Announce new versions of runs, to lists if there are none."""
        self._untold.update(versions)
        self._changes.ask()

    def pending(self) -> None:
        """Announce that a run waits for a worker."""
        self._pending.ask()

    async def _send_changes(self) -> bool:
        versions, self._untold = self._untold, {}
        if await send(PAGES, changed(versions)):
            return True
        self._untold = versions | self._untold
        return False

    async def _send_pending(self) -> bool:
        return await send(WORKERS, {"type": "runs.pending"})

    async def drain(self) -> None:
        """Wait until everything was told."""
        await self._changes.drain()
        await self._pending.drain()


_announcers: WeakKeyDictionary[asyncio.AbstractEventLoop, Announcer] = (
    WeakKeyDictionary()
)


def announcer() -> Announcer:
    """Return the announcer of the running event loop: there is one a process."""
    return _announcers.setdefault(asyncio.get_running_loop(), Announcer())
