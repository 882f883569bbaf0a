"""Accept websockets from our own pages only, as Django's CSRF check does for forms.

A browser sends cookies with a websocket that any page opens, and names that page's
origin in `Origin`. A client without this header is not a browser.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils.http import is_same_domain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Application = Callable[..., Awaitable[None]]

logger = logging.getLogger(__name__)

FOREIGN = 4403  # before it is accepted, so that a browser sees a refused handshake


def from_our_pages(application: Application) -> Application:
    """Return the application; it accepts sockets whose origin is the requested host.

    CSRF_TRUSTED_ORIGINS may name others, as for forms.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if is_ours(origin, host):
            await application(scope, receive, send)
            return
        logger.warning("A websocket from %.200r to %.200r was refused.", origin, host)
        await receive()
        await send({"type": "websocket.close", "code": FOREIGN})

    return serve


def is_ours(origin: str, host: str) -> bool:
    """Return whether a page of this origin may open sockets to this host."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    if settings.HTTPS and parts.scheme != "https":
        return False
    return _is_trusted(origin, parts.netloc) or _is_host(
        _with_port(parts.hostname, port, parts.scheme), host, parts.scheme
    )


def _is_host(origin: str, host: str, scheme: str) -> bool:
    """Return whether an origin is the requested host, which must be an allowed one."""
    request = HttpRequest()
    request.META = {"HTTP_HOST": host, "SERVER_NAME": "", "SERVER_PORT": ""}
    try:
        own_origin = urlsplit(f"{scheme}://{request.get_host()}")
        wanted = _with_port(own_origin.hostname or "", own_origin.port, scheme)
    except (DisallowedHost, ValueError):
        return False
    return origin == wanted


def _with_port(name: str, port: int | None, scheme: str) -> str:
    return f"{name.lower()}:{port or (443 if scheme == 'https' else 80)}"


def _is_trusted(origin: str, netloc: str) -> bool:
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        scheme, _, pattern = trusted.partition("://")
        if "*" in pattern:
            same = origin.startswith(f"{scheme}://")
            if same and is_same_domain(netloc, pattern.lstrip("*")):
                return True
        elif origin == trusted:
            return True
    return False
