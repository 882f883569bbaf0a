"""Nudges: tiny messages that say "look again". Losing one costs a moment, never truth.

workers          a run is pending            → a worker looks at the queue
workers          a run shall stop            → its worker cancels it
pages            these runs have new versions → their open pages and the lists render again
pages            an agent's answer has grown  → the run's open pages render it again
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from workflows.execution import outages
from workflows.execution.database import calling_loop
from workflows.execution.outages import Unheard

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Mapping,
        Sequence,
    )
    from uuid import UUID

    from channels.layers import BaseChannelLayer

WORKERS = "workers"
PAGES = "pages"
WORDS = "run.words"  # the type of a nudge: an agent's answer has grown
SEND_SECONDS = 2.0  # that the channel layer gets for one nudge
TRIES = 3
REST_SECONDS = 1.0  # without nudges after one that did not go out
PAUSE_SECONDS = 0.1  # between two nudges of one group: about ten a second


def changed(versions: Mapping[UUID, int | None]) -> dict[str, object]:
    """Return the message that these runs have changed; None: to whatever version."""
    told = {str(run_id): version for run_id, version in versions.items()}
    return {"type": "runs.changed", "versions": told}


async def send(to: str, message: Mapping[str, object]) -> None:
    """Send a nudge, unless the channel layer is away: the sweep is the net.

    After a failure nothing is sent for a moment, so that a layer that does not answer
    holds up nobody who has many nudges to send.
    """
    layer = get_channel_layer()
    if layer is None or _resting():
        return
    try:
        await _insist(lambda: layer.group_send(to, dict(message)))
    except Unheard as error:
        _rest.until = time.monotonic() + REST_SECONDS
        outages.messages.met(error)
    else:
        outages.messages.over()


class _Rest:
    until = 0.0  # on the monotonic clock; no nudge is sent before


_rest = _Rest()


def _resting() -> bool:
    return time.monotonic() < _rest.until


async def join(to: str, channel: str) -> None:
    """Let a channel hear a group, once more if it did before. Raises Unheard."""
    layer = get_channel_layer()
    if layer is None:
        return
    await _insist(lambda: layer.group_add(to, channel))
    outages.messages.over()


async def _insist(deed: Callable[[], Awaitable[object]]) -> None:
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
        raise Unheard(f"no answer within {SEND_SECONDS:g} s") from error
    raise Unheard(str(failed)) from failed


@dataclass(frozen=True, slots=True)
class Ear:
    """A channel that hears a group."""

    layer: BaseChannelLayer
    channel: str

    async def next(self) -> dict[str, Any]:
        """Return the next message. Raises Unheard when the layer is lost."""
        try:
            return await self.layer.receive(self.channel)
        except Exception as error:
            raise Unheard(str(error)) from error


@asynccontextmanager
async def listening(to: str) -> AsyncIterator[Ear]:
    """Give what hears the messages of a group. Raises Unheard."""
    layer = get_channel_layer()
    if layer is None:
        raise Unheard("none is configured")
    channel = await layer.new_channel()
    await join(to, channel)
    try:
        yield Ear(layer, channel)
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


def send_on_commit(*nudges: tuple[str, Mapping[str, object]]) -> None:
    """Send nudges once the current transaction is committed; at once outside of one.

    Each is a group and its message. Those that are given together go together: a way
    from this thread to the event loop takes longer than a nudge.
    """
    transaction.on_commit(lambda: _send_from_thread(nudges))


def _send_from_thread(nudges: Sequence[tuple[str, Mapping[str, object]]]) -> None:
    """Send on the event loop this thread works for: channels belong to their loop."""
    loop = calling_loop()
    if loop is None:
        async_to_sync(_send_all)(nudges)
    else:
        asyncio.run_coroutine_threadsafe(_send_all(nudges), loop)


async def _send_all(nudges: Sequence[tuple[str, Mapping[str, object]]]) -> None:
    for to, message in nudges:
        await send(to, message)


_LOOK: Mapping[str, object] = {"type": "runs.pending"}


def pending_on_commit() -> None:
    """Tell the workers that a run is waiting."""
    send_on_commit((WORKERS, _LOOK))


def launched_on_commit() -> None:
    """Tell the workers of a new run, and the lists; nobody has its page open yet."""
    send_on_commit((WORKERS, _LOOK), (PAGES, changed({})))


def cancel_on_commit(run_id: UUID) -> None:
    """Tell the worker that has this run to stop it."""
    send_on_commit((WORKERS, {"type": "run.cancel", "run": str(run_id)}))


def changed_on_commit(run_id: UUID) -> None:
    """Tell the pages of this run, and the lists, to look again."""
    send_on_commit((PAGES, changed({run_id: None})))


class Announcer:
    """Announces what was committed, at most about ten times a second.

    One message tells of all runs, so that many cost the channel layer no more than one.
    The first change goes out at once; those that follow within the pause are told
    together at its end, so that the last one is never left untold.
    """

    def __init__(self) -> None:
        """Start with nothing to tell."""
        self._untold: dict[UUID, int] = {}
        self._telling: asyncio.Task[None] | None = None

    def committed(self, versions: Mapping[UUID, int]) -> None:
        """Announce new versions of runs; called on the event loop."""
        self._untold.update(versions)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            versions, self._untold = self._untold, {}
            await send(PAGES, changed(versions))
            await asyncio.sleep(PAUSE_SECONDS)

    async def drain(self) -> None:
        """Wait until everything was told."""
        if self._telling is not None:
            await self._telling
