"""Close codes of websockets, and the wrapper that closes them during an outage."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workflows.infra import outages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Application = Callable[..., Awaitable[None]]

# Codes of applications start at 4000; Daphne sends no others.
# Clients reconnect after these, with increasing delay:
TRY_AGAIN_LATER = 4503
BROKEN = 4500
TOO_MANY_MESSAGES = 4429
# Clients do not reconnect after these:
REFUSED = 4403
GONE = 4404


def close_on_outage(application: Application) -> Application:
    """Wrap an application to close websockets with TRY_AGAIN_LATER during an outage.

    It wraps the authentication as well, since sessions are stored in the database.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        try:
            await application(scope, receive, send)
        except Exception as error:
            outage = outages.of(error)
            if outage is None:
                raise
            outage.report_failure(error)
            with suppress(Exception):  # the client may have disconnected first
                await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})

    return serve
