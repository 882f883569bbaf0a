"""Sockets while the database or Redis is away: let go with a code that says "come again"."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workflows.infra import outages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Application = Callable[..., Awaitable[None]]

# Codes for applications begin at 4000, and Daphne sends no other. Pages come back after
# these, ever more slowly.
TRY_AGAIN_LATER = 4503
BROKEN = 4500


def lets_go(application: Application) -> Application:
    """Return the application, closing sockets where it would fail of an outage.

    Also before it knows who is there: the session is kept in the database.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        try:
            await application(scope, receive, send)
        except Exception as error:
            outage = outages.of(error)
            if outage is None:
                raise
            outage.met(error)
            with suppress(Exception):  # it may have gone first
                await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})

    return serve
