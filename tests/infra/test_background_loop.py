"""Threads without an event loop send their notifications on one in the background."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.db import transaction

from workflows.infra import notifications
from workflows.infra.background_loop import BackgroundLoop


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the event loops on which messages were sent, from a process that has sent none."""
    loops: list[Any] = []

    async def send(_to: str, _message: dict[str, Any]) -> bool:
        loops.append(asyncio.get_running_loop())
        return True

    monkeypatch.setattr(notifications, "send", send)
    monkeypatch.setattr(notifications, "PAUSE_SECONDS", 0.0)
    background = BackgroundLoop(at_exit=notifications._drain)  # noqa: SLF001 - what is tested
    monkeypatch.setattr(notifications, "_background", background)
    return loops


def notify_in_a_thread() -> None:
    thread = threading.Thread(
        target=notifications._from_thread,  # noqa: SLF001 - what follows a commit
        args=(pending,),
    )
    thread.start()
    thread.join()


async def pending() -> None:
    notifications.announcer().pending()


def close(background: Any) -> None:
    background._close(background._loop, background._thread)  # noqa: SLF001 - at the end of a process


def test_threads_without_an_event_loop_share_one(sent: list[Any]) -> None:
    notify_in_a_thread()
    assert len(sent) == 1, (
        "the first notification has been sent when its thread goes on"
    )
    notify_in_a_thread()
    close(notifications._background)  # noqa: SLF001 - what is tested
    assert len(sent) == 2, "the end of the process has sent the second"
    assert sent[0] is sent[1]
    assert sent[0].is_closed()


def test_a_notification_after_the_end_starts_another_loop(sent: list[Any]) -> None:
    notify_in_a_thread()
    close(notifications._background)  # noqa: SLF001 - what is tested
    notify_in_a_thread()
    assert sent[0] is not sent[1]
    close(notifications._background)  # noqa: SLF001 - what is tested


@pytest.mark.django_db(transaction=True)
def test_messages_in_flight_are_sent_before_the_end(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections are needed for the second message, which nothing waits for."""
    may_send = threading.Event()

    async def slow(_to: str, _message: dict[str, Any]) -> bool:
        if sent:
            await asyncio.to_thread(may_send.wait, 5)
        sent.append(asyncio.get_running_loop())
        return True

    monkeypatch.setattr(notifications, "send", slow)
    notifications.permissions_changed_on_commit()
    notifications.permissions_changed_on_commit()
    assert len(sent) == 1
    threading.Timer(0.05, may_send.set).start()
    close(notifications._background)  # noqa: SLF001 - what is tested
    assert len(sent) == 2, "its send had begun, and was not dropped"


def test_a_failure_at_the_end_is_logged_and_hinders_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []
    may_fail = threading.Event()

    async def drain() -> None:
        ended.append("drained")

    async def fail() -> None:
        await asyncio.to_thread(may_fail.wait, 5)
        raise OSError("no connection")

    background = BackgroundLoop(at_exit=drain)
    background.submit(fail())
    threading.Timer(0.05, may_fail.set).start()
    close(background)
    assert ended == ["drained"]
    assert "no connection" in caplog.text


def test_a_forked_process_uses_a_loop_of_its_own() -> None:
    async def where() -> Any:
        return asyncio.get_running_loop()

    async def nothing() -> None:
        """Leave nothing to do at the end."""

    background = BackgroundLoop(at_exit=nothing)
    of_parent = background.submit(where()).result()
    thread = background._thread  # noqa: SLF001 - to end it
    background._forget()  # noqa: SLF001 - as os.fork does in the child
    assert not background.is_running
    background._close(of_parent, thread)  # noqa: SLF001 - as the child does at its end
    assert of_parent.is_running(), "the child has not closed the loop of its parent"
    assert background.submit(where()).result() is not of_parent
    close(background)
    of_parent.call_soon_threadsafe(of_parent.stop)


@pytest.mark.django_db(transaction=True)
def test_a_launch_without_an_event_loop_notifies_after_its_commit(
    sent: list[Any],
) -> None:
    with transaction.atomic():
        notifications.launched_on_commit()
        assert sent == []
    assert len(sent) == 2, "the workers and the lists"
    close(notifications._background)  # noqa: SLF001 - what is tested
