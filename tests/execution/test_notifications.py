"""Notifications: few for many changes, and the last change is always announced."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels_redis.core import RedisChannelLayer

from workflows.infra import notifications

A, B = uuid4(), uuid4()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the messages that were sent; a `None` at the end makes the next one fail."""
    messages: list[Any] = []

    async def send(_to: str, message: dict[str, Any]) -> bool:
        if messages and messages[-1] is None:
            messages.pop()
            return False
        messages.append(message)
        return True

    monkeypatch.setattr(notifications, "send", send)
    monkeypatch.setattr(notifications, "COOLDOWN_SECONDS", 0.01)
    return messages


def versions_in(messages: list[dict[str, Any]]) -> list[dict[UUID, int | None]]:
    return [
        {UUID(run): version for run, version in message["versions"].items()}
        for message in messages
    ]


async def test_changes_of_one_iteration_are_announced_together(
    sent: list[dict[str, Any]],
) -> None:
    announcer = notifications.Announcer()
    announcer.committed({A: 1})
    announcer.committed({B: 1})
    announcer.committed({A: 2})
    await announcer.drain()
    assert versions_in(sent) == [{A: 2, B: 1}]


async def test_changes_within_the_pause_are_announced_at_its_end(
    sent: list[dict[str, Any]],
) -> None:
    announcer = notifications.Announcer()
    announcer.committed({A: 1})
    await asyncio.sleep(0)  # it is sent
    for version in range(2, 100):
        announcer.committed({A: version})
    await announcer.drain()
    assert versions_in(sent) == [{A: 1}, {A: 99}]


async def test_a_version_does_not_replace_the_notice_that_any_version_may_be_new(
    sent: list[dict[str, Any]],
) -> None:
    announcer = notifications.Announcer()
    announcer.committed({A: None, B: 1})
    announcer.committed({A: 2, B: 2})
    await announcer.drain()
    assert versions_in(sent) == [{A: None, B: 2}]


async def test_a_message_that_could_not_be_sent_is_sent_later(sent: list[Any]) -> None:
    announcer = notifications.Announcer()
    sent.append(None)
    announcer.committed({A: 1})
    await asyncio.sleep(0)
    assert sent == [], "the channel layer is away"
    announcer.committed({B: 1})
    await announcer.drain()
    assert versions_in(sent) == [{A: 1, B: 1}]


async def test_a_drain_retries_and_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def send(_to: str, _message: dict[str, Any]) -> bool:
        return False

    monkeypatch.setattr(notifications, "send", send)
    monkeypatch.setattr(notifications, "COOLDOWN_SECONDS", 0.01)
    announcer = notifications.Announcer()
    announcer.committed({A: 1})
    announcer.pending()
    await asyncio.wait_for(announcer.drain(), 10)


async def test_a_drain_does_not_wait_for_the_pause(sent: list[dict[str, Any]]) -> None:
    async def send() -> bool:
        sent.append({})
        return True

    throttle = notifications.Throttle(send, pause=3_600)
    async with asyncio.timeout(10):
        throttle.request()
        await throttle.drain()
    assert sent == [{}]


# Members of a group, in a real Redis ----------------------------------------------------


async def members_of(layer: RedisChannelLayer, group: str) -> set[str]:
    key = layer._group_key(group)  # noqa: SLF001 - the package has no list of members
    found = await layer.connection(layer.consistent_hash(group)).zrange(key, 0, -1)
    return {member.decode() for member in found}


async def test_channels_of_killed_processes_are_removed_from_the_group_and_busy_ones_remain(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = RedisChannelLayer(hosts=[redis_url], group_expiry=2)
    monkeypatch.setattr(notifications, "get_channel_layer", lambda: layer)
    dead = await layer.new_channel()
    await notifications.join(notifications.WORKERS, dead)
    async with notifications.subscribe(notifications.WORKERS, silence=0.5) as busy:
        both = await members_of(layer, notifications.WORKERS)
        assert both == {dead, busy.channel}
        number = 0
        # the subscription is never silent, for twice the time of the expiry
        began = time.monotonic()
        members = both
        while dead in members or time.monotonic() < began + 4:
            number += 1
            message: dict[str, object] = {}
            while message.get("n") != number:  # a slow machine may have lost one
                message = {"type": "n", "n": number}
                await notifications.send(notifications.WORKERS, message)
                message = await busy.next()
            members = await members_of(layer, notifications.WORKERS)
            assert busy.channel in members
    await layer.close_pools()


async def test_silence_is_reported_and_joins_the_group_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = RedisChannelLayer(hosts=[redis_url])
    monkeypatch.setattr(notifications, "get_channel_layer", lambda: layer)
    async with notifications.subscribe(notifications.WORKERS, silence=0.2) as listener:
        await layer.flush()
        assert await listener.next() == {}
        assert await members_of(layer, notifications.WORKERS) == {listener.channel}
        await notifications.send(notifications.WORKERS, {"type": "heard"})
        assert (await listener.next())["type"] == "heard"
    await layer.close_pools()
