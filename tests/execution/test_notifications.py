"""Nudges: few however much happens, and none is left unsent that somebody waits for."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from workflows.infra import notifications

A, B = uuid4(), uuid4()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Give what the channel layer was asked to send; with `None` in it, it fails once."""
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


def told(messages: list[dict[str, Any]]) -> list[dict[UUID, int | None]]:
    return [
        {UUID(run): version for run, version in message["versions"].items()}
        for message in messages
    ]


async def test_what_changes_in_one_moment_is_told_together(
    sent: list[dict[str, Any]],
) -> None:
    announcer = notifications.Announcer()
    announcer.committed({A: 1})
    announcer.committed({B: 1})
    announcer.committed({A: 2})
    await announcer.drain()
    assert told(sent) == [{A: 2, B: 1}]


async def test_what_changes_soon_afterwards_is_told_at_the_end_of_the_pause(
    sent: list[dict[str, Any]],
) -> None:
    announcer = notifications.Announcer()
    announcer.committed({A: 1})
    await asyncio.sleep(0)  # it is told
    for version in range(2, 100):
        announcer.committed({A: version})
    await announcer.drain()
    assert told(sent) == [{A: 1}, {A: 99}]


async def test_what_did_not_go_out_is_told_a_little_later(sent: list[Any]) -> None:
    announcer = notifications.Announcer()
    sent.append(None)
    announcer.committed({A: 1})
    await asyncio.sleep(0)
    assert sent == [], "the channel layer is away"
    announcer.committed({B: 1})
    await announcer.drain()
    assert told(sent) == [{A: 1, B: 1}]


async def test_whoever_ends_tries_once_more_and_does_not_wait_for_ever(
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
