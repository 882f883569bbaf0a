"""The ASGI application: pages over HTTP, live regions over websockets."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
pages = get_asgi_application()

from django.conf import settings  # noqa: E402 - after DJANGO_SETTINGS_MODULE

from project.forwarded import behind_proxies  # noqa: E402 - needs settings
from project.origins import from_our_pages  # noqa: E402 - needs settings
from workflows.pages.live.close_codes import close_on_outage  # noqa: E402 - needs apps
from workflows.pages.live.websocket_urls import websocket_urlpatterns  # noqa: E402 - needs apps


async def no_such_socket(
    _scope: dict[str, Any],
    receive: Callable[[], Awaitable[object]],
    send: Callable[[dict[str, str]], Awaitable[None]],
) -> None:
    """Refuse a websocket whose address leads nowhere."""
    await receive()
    await send({"type": "websocket.close"})


# Channels puts consumers where Django's types expect views.
nowhere: Any = no_such_socket
routes: list[Any] = [*websocket_urlpatterns, re_path("", nowhere)]
sockets: Any = AuthMiddlewareStack(URLRouter(routes))
application: Any = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": from_our_pages(close_on_outage(sockets)),
    }
)
if settings.BEHIND_PROXY:
    application = behind_proxies(application, settings.TRUSTED_PROXIES)
