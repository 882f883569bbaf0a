"""The client's address behind proxies that append to X-Forwarded-For.

Clients can send the header themselves, so only its last entries can be trusted: as many as
there are proxies in front of the server. The order of proxies follows RFC 7239.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Application = Callable[..., Awaitable[None]]

HEADER = b"x-forwarded-for"


def behind_proxies(application: Application, proxies: int) -> Application:
    """Return the ASGI application, with the client address given by the outermost proxy.

    `proxies` is the number of trusted proxies. Without the header, or if that entry is no
    address, the client is the peer of the connection: indistinguishable requests
    then share their limits.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        client = client_of(scope.get("headers", ()), proxies)
        if client:
            scope = {**scope, "client": [client, 0]}
        await application(scope, receive, send)

    return serve


def client_of(headers: Iterable[tuple[bytes, bytes]], proxies: int) -> str:
    """Return the client's address by the X-Forwarded-For headers, "" if there is none.

    If there are fewer entries than proxies, the first one counts: the request did not pass
    through the outermost proxies.
    """
    values = [value for name, value in headers if name.lower() == HEADER]
    entries = b",".join(values).decode("latin-1").split(",")
    return _address(entries[-min(proxies, len(entries))])


def _address(entry: str) -> str:
    """Return the address of an entry, which may have a port; "" for anything else."""
    text = entry.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
