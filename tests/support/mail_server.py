"""An SMTP server that keeps what it receives."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller


class Inbox:
    """What a real SMTP server received; it refuses mail while `refuses` is set."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refuses = False
        self.accepted: Callable[[Message], object] = lambda _: None

    async def handle_DATA(  # noqa: N802 - the name that the server calls
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.refuses:
            return "451 Try again later"
        message = message_from_bytes(envelope.content)
        self.messages.append(message)
        self.accepted(message)  # before the response
        return "250 Accepted"

    @property
    def subjects(self) -> list[str]:
        return [str(one["subject"]) for one in self.messages]


class AnyPort(Controller):
    """An SMTP server on a port that the system chooses."""

    def _trigger_server(self) -> None:
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call] # of the package
