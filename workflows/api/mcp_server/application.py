"""The ASGI application of the protocol, over streamable HTTP without sessions.

Every request stands alone, so any process serves it: a client sends its API token with each.
Browsers cannot misuse it, since no cookie authenticates here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from mcp.server.transport_security import TransportSecuritySettings

from workflows.access import tokens
from workflows.api import problems
from workflows.api.auth import REFUSED
from workflows.api.live.viewers import Viewer
from workflows.api.mcp_server import PATH
from workflows.api.mcp_server.caller import Caller, caller
from workflows.api.mcp_server.tools import make_server
from workflows.errors import RateLimited
from workflows.infra import outages
from workflows.infra.database_threads import run_in_db
from workflows.pages.rate_limits import count

if TYPE_CHECKING:
    from django.http import HttpResponse

    Application = Callable[..., Awaitable[None]]

METHODS: Final = frozenset({"POST"})  # GET would open a stream that nothing is sent on
METHOD_NOT_ALLOWED: Final = 405
OUTAGE_SECONDS: Final = 10  # after which a client may try again


class ContextProtocol:
    """Serves PATH; `api` is the application that the tools send their requests to."""

    def __init__(self, api: Application, version: str) -> None:
        self._api, self._version = api, version
        self._running: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = (
            WeakKeyDictionary()
        )
        # a line for each start of a session manager, and for each request
        logging.getLogger("mcp").setLevel(logging.WARNING)

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Any, send: Any
    ) -> None:
        """Serve a request with a usable token."""
        found = await self._viewer(scope)
        if not isinstance(found, Viewer):
            await _send(found, receive, send)
            return
        application = await self._application()
        api = Caller(self._api, scope, found)
        context = caller.set(api)
        try:
            await application(scope, receive, send)
        finally:
            caller.reset(context)
            await api.close()

    async def _viewer(self, scope: MutableMapping[str, Any]) -> Viewer | HttpResponse:
        """Return whose token a request has, or the response that refuses it."""
        if scope["method"] not in METHODS:
            refusal = problems.problem(
                METHOD_NOT_ALLOWED, "method_not_allowed", "Only POST is supported here."
            )
            refusal["Allow"] = ", ".join(METHODS)
            return refusal
        address = (scope.get("client") or ("", 0))[0]
        try:
            viewer = await run_in_db(_viewer_with, _secret_in(scope), address)
        except RateLimited as error:
            return _unavailable(429, "rate_limited", str(error), error.seconds)
        except Exception as error:
            outage = outages.of(error)
            if outage is None:
                raise
            outage.report_failure(error)
            text = "The database is unavailable. Try again later."
            return _unavailable(503, "unavailable", text, OUTAGE_SECONDS)
        return viewer or problems.problem(401, "unauthorized", REFUSED)

    async def _application(self) -> Any:
        """Return the application of the running event loop; start it at the first request."""
        loop = asyncio.get_running_loop()
        if loop not in self._running:
            ready: asyncio.Future[Any] = loop.create_future()
            self._running[loop] = (ready, loop.create_task(self._run(ready)))
        ready, _ = self._running[loop]
        return await asyncio.shield(ready)

    async def _run(self, ready: asyncio.Future[Any]) -> None:
        """Keep the tasks of the protocol running until the event loop ends."""
        server = make_server(self._version)
        application = server.streamable_http_app(
            streamable_http_path=PATH,
            stateless_http=True,
            transport_security=TransportSecuritySettings(
                enable_dns_rebinding_protection=False  # a token is required
            ),
        )
        async with server.session_manager.run():
            ready.set_result(application)
            await asyncio.get_running_loop().create_future()


def _viewer_with(secret: str, address: str) -> Viewer | None:
    """Return whose token this is, None if it is unusable.

    Raises RateLimited after too many that are not.
    """
    token = tokens.find(secret)
    if token is None:
        count("api_failure", address or "unknown")
        return None
    return Viewer(token.owner, token)


def _unavailable(status: int, code: str, text: str, seconds: int) -> HttpResponse:
    response = problems.problem(status, code, text)
    response["Retry-After"] = str(seconds)
    return response


def _secret_in(scope: MutableMapping[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, secret = value.decode("latin-1").partition(" ")
            return str(secret).strip() if kind.lower() == "bearer" else ""
    return ""


async def _send(response: HttpResponse, receive: Any, send: Any) -> None:
    """Send a response, after the body of the request."""
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body"):
            break
    headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in response.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
