"""The Redis layer delivers as Channels' own does, also to processes that use that one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from workflows.infra.redis_layer import FewRoundTripsLayer

TIMEOUT_SECONDS = 20


async def joined(layer: Any) -> str:
    channel: str = await layer.new_channel()
    await layer.group_add("pages", channel)
    return channel


async def received(layer: Any, channel: str) -> Any:
    return await asyncio.wait_for(layer.receive(channel), TIMEOUT_SECONDS)


async def calls_of(layer: Any) -> dict[str, int]:
    """Return how often each command was sent to Redis since `CONFIG RESETSTAT`."""
    stats = await layer.connection(0).info("commandstats")
    return {
        name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()
    }


async def test_messages_of_both_layers_are_received_by_both(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"hosts": [redis_url], "capacity": 3}  # of the channels that it sends to
    ours = FewRoundTripsLayer(**options)
    theirs, idle = (RedisChannelLayer(**options) for _ in range(2))
    members = [(ours, await joined(ours)), (ours, await joined(ours))]
    members.append((theirs, await joined(theirs)))
    for sender in (ours, theirs):
        message = {"type": "changed", "versions": {}, "runs": ["ä", 1]}
        await sender.group_send("pages", message)
        for layer, channel in members:
            assert await received(layer, channel) == message

    # a channel that nobody reads keeps as many messages as it may, and hinders no other
    full = await joined(idle)
    for number in range(5):
        await ours.group_send("pages", {"type": "n", "n": number})
        for layer, channel in members:
            assert (await received(layer, channel))["n"] == number
    logged = [each for each in caplog.messages if "full" in each]
    assert logged == ["1 channels of group pages are full and missed a message"]
    kept = [(await received(idle, full))["n"] for _ in range(3)]
    assert kept == [0, 1, 2]
    await theirs.group_send("pages", {"type": "last"})
    assert await received(idle, full) == {"type": "last"}

    for layer in (ours, theirs, idle):
        await layer.close_pools()


async def test_an_invalid_group_name_is_refused() -> None:
    with pytest.raises(TypeError, match="Group name"):
        await FewRoundTripsLayer().group_send("no name", {"type": "n"})


async def test_a_message_takes_two_round_trips_to_send_and_one_to_receive(
    redis_url: str,
) -> None:
    layer = FewRoundTripsLayer(hosts=[redis_url])
    channel = await joined(layer)
    await layer.connection(0).config_resetstat()
    await layer.group_send("pages", {"type": "heard"})
    await received(layer, channel)
    calls = await calls_of(layer)
    assert calls["eval"] == calls["bzpopmin"] == calls["zrange"] == 1
    # the others are of the pipeline and the script
    assert set(calls) - {"eval", "bzpopmin", "zrange", "zremrangebyscore", "zcard"} <= {
        *("zadd", "expire", "config|resetstat", "config", "info", "client|setinfo"),
        *("hello", "select", "client"),
    }
    assert calls["zadd"] == 1, "no copy is kept"
    await layer.close_pools()
