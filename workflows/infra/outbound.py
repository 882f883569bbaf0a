"""HTTP transports for requests to addresses that users enter, behind a Guard.

An address is checked when the connection is made, after the host name was resolved, and
the connection goes to the address that was checked: a name that resolves differently a
moment later (DNS rebinding) is of no use, and neither are other notations of an address,
such as 0x7f000001. Clients must not follow redirects: each has one origin.

Behind a proxy of the environment (HTTPS_PROXY and similar variables) the proxy resolves the
name. The host is then checked by the addresses that it has here; a name that only the
proxy can resolve is not checked.
"""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpcore
import httpx

from workflows.infra.addresses import DEFAULT_PORTS, Guard, addresses_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host, checks all its addresses and connects to one of them."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that responds; `timeout` seconds in total.

        Raises AddressRefused, httpcore.ConnectError and httpcore.ConnectTimeout.
        """
        addresses = await _resolve(host, port, timeout)
        self._guard.check_addresses(host, addresses)
        failed: Exception = httpcore.ConnectError(f"“{host}” has no address")
        share = None if timeout is None else timeout / max(len(addresses), 1)
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address,
                    port,
                    timeout=share,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


async def _resolve(
    host: str,
    port: int,
    timeout: float | None,  # noqa: ASYNC109 - passed on
) -> list[str]:
    """Return the addresses of a host. Raises ConnectError and ConnectTimeout."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(
            f"“{host}” could not be resolved in time"
        ) from error
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(
            f"“{host}” could not be resolved: {error}"
        ) from error
    return addresses_of(found)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Direct connections through a GuardedBackend."""

    def __init__(self, guard: Guard, limits: httpx.Limits) -> None:
        # httpx has no parameter for the backend; a test fails if `_pool` is renamed.
        context = httpx.create_ssl_context()
        super().__init__(verify=context, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=GuardedBackend(guard),
        )


class GuardedProxyTransport(httpx.AsyncHTTPTransport):
    """Connections through a proxy, which may have any address; the target is checked."""

    def __init__(self, guard: Guard, limits: httpx.Limits, proxy: str) -> None:
        self._guard = guard
        super().__init__(limits=limits, proxy=proxy)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises AddressRefused."""
        url = request.url
        port = url.port or DEFAULT_PORTS[url.scheme]
        await asyncio.to_thread(self._guard.check_host, url.host, port)
        return await super().handle_async_request(request)


def transport_to(
    url: str, guard: Guard, limits: httpx.Limits
) -> httpx.AsyncBaseTransport:
    """Return a transport for requests to one origin, through the environment's proxy."""
    proxy = _proxy_for(url)
    if proxy:
        return GuardedProxyTransport(guard, limits, proxy)
    return GuardedTransport(guard, limits)


def _proxy_for(url: str) -> str:
    """Return the proxy of the environment for a URL, "" if there is none."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    host = parts.netloc.rpartition("@")[2]
    if urllib.request.proxy_bypass_environment(host, proxies):  # type: ignore[attr-defined] # not in typeshed
        return ""
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"
