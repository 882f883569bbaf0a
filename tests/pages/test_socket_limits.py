"""Limits on websockets: their number, and the number of their messages."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from workflows.pages.live.socket_limits import BURST_SECONDS, PERSON_SHARE, SocketLimits

MESSAGE = {"type": "websocket.receive", "text": "shown"}


async def accept(_scope: Any, receive: Any, send: Any) -> None:
    """Read messages until the websocket is closed."""
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


class Client:
    """One websocket of a person."""

    def __init__(self, application: Any, person: int | None = 1) -> None:
        self.sent: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"user": SimpleNamespace(pk=person)}
        scope["extensions"] = {"websocket.http.response": {}}  # type: ignore[assignment]

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        self.task = asyncio.ensure_future(application(scope, self.incoming.get, send))

    async def connect(self) -> Client:
        """Return when the websocket is accepted or refused."""
        async with asyncio.timeout(10):
            while not self.sent:
                if self.incoming.empty() and not self.task.done():
                    self.incoming.put_nowait({"type": "websocket.connect"})
                await asyncio.sleep(0)
        return self

    async def close(self) -> None:
        """Disconnect."""
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await self.task


async def test_a_websocket_over_the_limit_of_a_user_is_refused_with_429() -> None:
    limits = SocketLimits(sockets=0, per_person=2, messages_per_second=5)
    application = limits.of_people(accept)
    first, second = [await Client(application).connect() for _ in range(2)]
    third = await Client(application).connect()
    await third.task
    assert third.sent[0]["status"] == 429
    other = await Client(application, person=2).connect()
    assert other.sent == [{"type": "websocket.accept"}]
    await first.close()
    assert (await Client(application).connect()).sent == [{"type": "websocket.accept"}]
    for client in (second, other):
        await client.close()


async def test_a_websocket_over_the_limit_of_a_process_is_refused_with_503() -> None:
    limits = SocketLimits(sockets=1, per_person=0, messages_per_second=5)
    application = limits.of_process(accept)
    first = await Client(application).connect()
    second = await Client(application).connect()
    await second.task
    assert second.sent[0]["status"] == 503
    await first.close()
    third = await Client(application).connect()
    assert third.sent == [{"type": "websocket.accept"}]
    await third.close()


async def test_too_many_messages_close_the_websocket_with_4429() -> None:
    limits = SocketLimits(sockets=0, per_person=0, messages_per_second=5)
    client = await Client(limits.of_people(accept)).connect()
    for _ in range(10 * 5 * BURST_SECONDS):
        client.incoming.put_nowait(MESSAGE)
    await client.task
    assert client.sent[-1] == {"type": "websocket.close", "code": 4429}


async def test_messages_of_a_person_are_counted_over_all_websockets() -> None:
    limits = SocketLimits(sockets=0, per_person=0, messages_per_second=5)
    application = limits.of_people(accept)
    clients = [await Client(application).connect() for _ in range(PERSON_SHARE + 4)]
    for client in clients:
        for _ in range(5 * BURST_SECONDS):
            client.incoming.put_nowait(MESSAGE)
    closed = [client for client in clients if await _is_closed(client)]
    assert closed, "although each is below the limit of a websocket"
    for client in set(clients) - set(closed):
        await client.close()


async def _is_closed(client: Client) -> bool:
    async with asyncio.timeout(10):
        while not client.task.done() and not client.incoming.empty():  # noqa: ASYNC110 - there is no event to await
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return bool(client.sent[-1]["type"] == "websocket.close")


async def test_messages_after_a_disconnect_are_dropped() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        if sent:
            raise OSError("disconnected")
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect"}

    async def page(_scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            await send({"type": "websocket.send", "text": "changes"})
        await receive()
        await send({"type": "websocket.close"})

    limits = SocketLimits(sockets=0, per_person=0, messages_per_second=5)
    scope = {"user": SimpleNamespace(pk=1)}
    await limits.of_people(page)(scope, receive, send)
    assert len(sent) == 1
