"""One subscription for all open pages of this process.

With a channel per page, each notification would be copied, queued and delivered once per
page. Here one channel receives the notifications of all runs, and each page is called
directly, only for what it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from workflows.infra import notifications, outages

LISTS = "lists"  # the topic of pages that change with any run
RETRY_SECONDS = 1.0  # before subscribing again after a failure
REJOIN_SECONDS = 30.0  # of silence, after which a channel layer may have been emptied


class Subscriber(Protocol):
    """A page that is notified."""

    def note(self, message: Mapping[str, Any]) -> None:
        """Record that the page has to render again. Must not block."""


@dataclass(eq=False, slots=True)
class _LoopSubscription:
    """The pages of one event loop, with the task that receives their notifications."""

    ready: asyncio.Future[None]
    pages: dict[str, set[Subscriber]] = field(default_factory=dict)  # by topic
    task: asyncio.Task[None] | None = None

    def dispatch(self, message: Mapping[str, Any]) -> None:
        """Notify the pages of a message; one without content concerns all pages."""
        if "versions" in message:
            for run, version in message["versions"].items():
                self._notify(run, {"version": version})
            self._notify(LISTS, {})
        elif "run" in message:
            self._notify(message["run"], message)
        else:
            # permissions changed, or messages were missed, which can include such a one
            checks = {"permissions": True, "person": message.get("person")}
            for topic in tuple(self.pages):
                self._notify(topic, checks)

    def _notify(self, topic: str, message: Mapping[str, Any]) -> None:
        for page in tuple(self.pages.get(topic, ())):
            page.note(message)


class Hub:
    """The subscribed pages of this process, by event loop."""

    def __init__(self) -> None:
        self._subscriptions: dict[asyncio.AbstractEventLoop, _LoopSubscription] = {}

    async def join(self, topic: str, page: Subscriber) -> None:
        """Notify a page from now on of messages about a topic: the id of a run, or LISTS.

        Raises ChannelLayerUnavailable.
        """
        loop = asyncio.get_running_loop()
        subscription = self._subscriptions.get(loop)
        if subscription is None:
            subscription = _LoopSubscription(loop.create_future())
            self._subscriptions[loop] = subscription
            subscription.task = asyncio.create_task(_receive(subscription))
        subscription.pages.setdefault(topic, set()).add(page)
        try:
            await asyncio.shield(subscription.ready)
        except BaseException:
            await self.leave(topic, page)
            raise

    async def leave(self, topic: str, page: Subscriber) -> None:
        """Stop notifying a page; after the last one, end the subscription."""
        loop = asyncio.get_running_loop()
        subscription = self._subscriptions.get(loop)
        if subscription is None:
            return
        pages = subscription.pages.get(topic, set())
        pages.discard(page)
        if not pages:
            subscription.pages.pop(topic, None)
        if not subscription.pages:
            del self._subscriptions[loop]
            if subscription.task is not None:
                subscription.task.cancel()
                with suppress(asyncio.CancelledError):
                    await subscription.task


async def _receive(subscription: _LoopSubscription) -> None:
    """Receive messages until cancelled; after a failure, subscribe again and notify all."""
    while True:
        try:
            async with notifications.subscribe(
                notifications.PAGES, silence=REJOIN_SECONDS
            ) as messages:
                if subscription.ready.done():
                    subscription.dispatch({})  # messages may have been missed
                else:
                    subscription.ready.set_result(None)
                while True:
                    subscription.dispatch(await messages.next())
        except outages.ChannelLayerUnavailable as error:
            outages.messages.report_failure(error)
            if not subscription.ready.done():
                subscription.ready.set_exception(error)  # clients reconnect later
                return
            await asyncio.sleep(RETRY_SECONDS)


hub = Hub()
