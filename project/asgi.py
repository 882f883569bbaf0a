"""The ASGI application: pages over HTTP, live regions over websockets, and their limits."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
pages = get_asgi_application()

from project.admission import Admission, Lane, Lanes  # noqa: E402 - needs settings
from project.body_limits import Bodies, BodyLimits  # noqa: E402 - needs settings
from project.forwarded_addresses import behind_proxies  # noqa: E402 - needs settings
from project.refusal_responses import is_signed_in, respond  # noqa: E402 - needs apps
from project.websocket_origins import from_our_pages  # noqa: E402 - needs settings
from workflows import __version__  # noqa: E402 - needs apps
from workflows.api.mcp_server import PATH  # noqa: E402 - needs apps
from workflows.pages.live.close_codes import close_on_outage  # noqa: E402 - needs apps
from workflows.pages.live.socket_limits import SocketLimits  # noqa: E402 - needs apps
from workflows.pages.live.websocket_urls import websocket_urlpatterns  # noqa: E402 - needs apps
from workflows.pages.sessions.view_as import without_sockets  # noqa: E402 - needs apps

QUEUE_SECONDS = 3.0  # in which a queued page gets a place
FILES, FILES_QUEUE = 4, 400
CHECKS, CHECKS_QUEUE = 2, 16


async def no_such_socket(
    _scope: dict[str, Any],
    receive: Callable[[], Awaitable[object]],
    send: Callable[[dict[str, str]], Awaitable[None]],
) -> None:
    """Refuse a websocket whose address leads nowhere."""
    await receive()
    await send({"type": "websocket.close"})


def _admission(application: Any) -> Admission:
    """Limit the requests of an application by the settings."""
    lanes = Lanes(
        pages=Lane(
            settings.MAX_REQUESTS,
            queue=settings.MAX_QUEUED_REQUESTS,
            seconds=QUEUE_SECONDS,
        ),
        files=Lane(FILES, queue=FILES_QUEUE, seconds=QUEUE_SECONDS),
        checks=Lane(CHECKS, queue=CHECKS_QUEUE, seconds=QUEUE_SECONDS),
        files_prefix=settings.STATIC_URL,
    )
    limits = BodyLimits(
        upload_bytes=settings.MAX_UPLOAD_BYTES,
        form_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        grace_seconds=settings.REQUEST_SECONDS,
    )
    return Admission(application, lanes, Bodies(limits, is_signed_in), respond)


def _with_mcp_server(api: Any) -> Any:
    """Serve the Model Context Protocol beside an application, within limits of its own.

    A tool waits for requests to the application, which would otherwise wait for its place.
    """
    # needs the packages of an extra
    from workflows.api.mcp_server.application import (  # noqa: PLC0415
        ContextProtocol,
    )

    limited = _admission(ContextProtocol(api, __version__))

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        is_protocol = scope["path"] == PATH
        await (limited if is_protocol else api)(scope, receive, send)

    return serve


# Channels puts consumers where Django's types expect views.
nowhere: Any = no_such_socket
routes: list[Any] = [*websocket_urlpatterns, re_path("", nowhere)]
socket_limits = SocketLimits(
    sockets=settings.MAX_SOCKETS,
    per_person=settings.MAX_SOCKETS_PER_PERSON,
    messages_per_second=settings.MAX_MESSAGES_PER_SECOND,
)
sockets: Any = AuthMiddlewareStack(
    without_sockets(socket_limits.of_people(URLRouter(routes)))
)
http = _admission(pages)
application: Any = ProtocolTypeRouter(
    {
        "http": _with_mcp_server(http) if settings.MCP else http,
        "websocket": from_our_pages(socket_limits.of_process(close_on_outage(sockets))),
    }
)
if settings.BEHIND_PROXY:
    application = behind_proxies(application, settings.TRUSTED_PROXIES)
