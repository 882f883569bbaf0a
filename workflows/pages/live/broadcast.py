"""One ear for all open pages of this process.

A channel a page would have every nudge copied, queued and delivered once a page. Here one
channel hears of all runs; each page is told by a plain call, and only of what it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from workflows.infra import notifications, outages

LISTS = "lists"  # what pages show that change with any run
PAUSE_SECONDS = 1.0  # before listening again where that failed
REJOIN_SECONDS = 30.0  # of silence, after which a channel layer may have been emptied


class Listener(Protocol):
    """Who wants to be told."""

    def note(self, message: Mapping[str, Any]) -> None:
        """Remember to look again."""


@dataclass(eq=False, slots=True)
class _LoopSubscriber:
    """What listens on one event loop."""

    ready: asyncio.Future[None]
    pages: dict[str, set[Listener]] = field(default_factory=dict)  # by what they show
    task: asyncio.Task[None] | None = None

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell the pages whom it concerns; a message that says nothing concerns all."""
        if "versions" in message:
            for run, version in message["versions"].items():
                self._notify_pages(run, {"version": version})
            self._notify_pages(LISTS, {})
        elif "run" in message:
            self._notify_pages(message["run"], message)
        else:
            # rights have changed, or something was missed, which may have been that
            for showing in tuple(self.pages):
                self._notify_pages(showing, {"rights": True})

    def _notify_pages(self, showing: str, message: Mapping[str, Any]) -> None:
        for page in tuple(self.pages.get(showing, ())):
            page.note(message)


class Hub:
    """The pages of this process that want to be told."""

    def __init__(self) -> None:
        """Start with nobody listening."""
        self._ears: dict[asyncio.AbstractEventLoop, _LoopSubscriber] = {}

    async def join(self, showing: str, page: Listener) -> None:
        """Tell a page of every nudge from now on that concerns what it shows.

        That is the id of a run, or LISTS. Raises Unheard.
        """
        loop = asyncio.get_running_loop()
        ear = self._ears.get(loop)
        if ear is None:
            ear = self._ears[loop] = _LoopSubscriber(loop.create_future())
            ear.task = asyncio.create_task(_listen(ear))
        ear.pages.setdefault(showing, set()).add(page)
        try:
            await asyncio.shield(ear.ready)
        except BaseException:
            await self.leave(showing, page)
            raise

    async def leave(self, showing: str, page: Listener) -> None:
        """Tell it nothing more; the last one to leave closes the ear."""
        loop = asyncio.get_running_loop()
        ear = self._ears.get(loop)
        if ear is None:
            return
        those = ear.pages.get(showing, set())
        those.discard(page)
        if not those:
            ear.pages.pop(showing, None)
        if not ear.pages:
            del self._ears[loop]
            if ear.task is not None:
                ear.task.cancel()
                with suppress(asyncio.CancelledError):
                    await ear.task


async def _listen(ear: _LoopSubscriber) -> None:
    """Listen until cancelled; after a failure again, and then all pages look."""
    while True:
        try:
            async with notifications.subscribe(
                notifications.PAGES, silence=REJOIN_SECONDS
            ) as heard:
                if ear.ready.done():
                    ear.tell({})  # something may have been missed
                else:
                    ear.ready.set_result(None)
                while True:
                    ear.tell(await heard.next())
        except outages.ChannelLayerUnavailable as error:
            outages.messages.met(error)
            if not ear.ready.done():
                ear.ready.set_exception(error)  # whoever waits comes again later
                return
            await asyncio.sleep(PAUSE_SECONDS)


hub = Hub()
