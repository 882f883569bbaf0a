"""One ear a group for all open pages of this process.

A channel a page would have every nudge copied, queued and delivered once a page. Here a
group has one channel; what it hears is told to each page by a plain call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from workflows.execution import live, outages

PAUSE_SECONDS = 1.0  # before listening again where that failed
REJOIN_SECONDS = 30.0  # of silence, after which a channel layer may have been emptied


class Listener(Protocol):
    """Who wants to be told."""

    def note(self, message: Mapping[str, Any]) -> None:
        """Remember to look again."""


@dataclass(eq=False, slots=True)
class _Ear:
    """What listens to one group on one event loop."""

    ready: asyncio.Future[None]
    pages: set[Listener] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell all pages."""
        for page in tuple(self.pages):
            page.note(message)


class Hub:
    """The groups that the pages of this process listen to."""

    def __init__(self) -> None:
        """Start with nobody listening."""
        self._ears: dict[tuple[asyncio.AbstractEventLoop, str], _Ear] = {}

    async def join(self, group: str, page: Listener) -> None:
        """Tell a page of every nudge from now on. Raises Unheard."""
        loop = asyncio.get_running_loop()
        ear = self._ears.get((loop, group))
        if ear is None:
            ear = self._ears[loop, group] = _Ear(loop.create_future())
            ear.task = asyncio.create_task(_listen(group, ear))
        ear.pages.add(page)
        try:
            await asyncio.shield(ear.ready)
        except BaseException:
            await self.leave(group, page)
            raise

    async def leave(self, group: str, page: Listener) -> None:
        """Tell it nothing more; the last one to leave closes the ear."""
        key = (asyncio.get_running_loop(), group)
        ear = self._ears.get(key)
        if ear is None:
            return
        ear.pages.discard(page)
        if not ear.pages:
            del self._ears[key]
            if ear.task is not None:
                ear.task.cancel()
                with suppress(asyncio.CancelledError):
                    await ear.task


async def _listen(group: str, ear: _Ear) -> None:
    """Listen until cancelled; after a failure again, and then all pages look."""
    while True:
        try:
            async with live.listening(group) as heard:
                if ear.ready.done():
                    ear.tell({})  # something may have been missed
                else:
                    ear.ready.set_result(None)
                await _hear(group, ear, heard)
        except outages.Unheard as error:
            outages.messages.met(error)
            if not ear.ready.done():
                ear.ready.set_exception(error)  # whoever waits comes again later
                return
            await asyncio.sleep(PAUSE_SECONDS)


async def _hear(group: str, ear: _Ear, heard: live.Ear) -> None:
    """Tell what is heard. Raises Unheard when the layer is lost."""
    while True:
        try:
            async with asyncio.timeout(REJOIN_SECONDS):
                message = await heard.next()
        except TimeoutError:
            await live.join(group, heard.channel)
            message = {}
        ear.tell(message)


hub = Hub()
