"""The channel layer without Redis: groups whose members are on several event loops."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

from workflows.infra.memory_layer import ThreadSafeChannelLayer

TIMEOUT_SECONDS = 20


def receive_on_another_loop(
    layer: ThreadSafeChannelLayer, joined: Future[None]
) -> Future[Any]:
    """Return the future of the message that a member on another loop receives."""
    received: Future[Any] = Future()

    async def receive() -> Any:
        channel = await layer.new_channel()
        await layer.group_add("pages", channel)
        joined.set_result(None)
        message = await asyncio.wait_for(layer.receive(channel), TIMEOUT_SECONDS)
        await layer.group_discard("pages", channel)
        return message

    def serve() -> None:
        try:
            received.set_result(asyncio.run(receive()))
        except BaseException as error:
            received.set_exception(error)

    threading.Thread(target=serve, daemon=True).start()
    return received


async def test_a_message_reaches_members_on_all_event_loops() -> None:
    layer = ThreadSafeChannelLayer()
    here = await layer.new_channel()
    await layer.group_add("pages", here)
    joined: Future[None] = Future()
    there = receive_on_another_loop(layer, joined)
    await asyncio.wrap_future(joined)
    await layer.group_send("pages", {"type": "runs.changed"})
    assert await layer.receive(here) == {"type": "runs.changed"}
    assert await asyncio.wrap_future(there) == {"type": "runs.changed"}
    await layer.group_discard("pages", here)
    assert layer.groups == {}


async def test_a_member_whose_event_loop_was_closed_leaves_the_group() -> None:
    layer = ThreadSafeChannelLayer()

    async def join_and_end() -> None:
        await layer.group_add("pages", await layer.new_channel())

    await asyncio.to_thread(asyncio.run, join_and_end())
    await layer.group_send("pages", {"type": "runs.changed"})
    assert layer.groups == {}


async def test_a_full_channel_loses_messages_and_stays_subscribed() -> None:
    layer = ThreadSafeChannelLayer(capacity=1)
    channel = await layer.new_channel()
    await layer.group_add("pages", channel)
    for number in range(3):
        await layer.group_send("pages", {"type": "runs.changed", "number": number})
    assert (await layer.receive(channel))["number"] == 0
    await layer.group_send("pages", {"type": "runs.changed", "number": 3})
    assert (await layer.receive(channel))["number"] == 3
