"""HTTP clients with pooled connections, one per endpoint and event loop.

A client holds no key: each request brings its own, so that a token given at launch is
never used for other calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from django.conf import settings

from workflows.infra.addresses import Guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import AsyncOpenAI

CONNECTIONS = 200  # per endpoint; further calls wait
IDLE_CONNECTIONS = 40  # kept open
CONNECT_SECONDS = 10.0
NO_KEY = "none"  # required by the package; each request overrides it


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address and timeout of a provider."""

    kind: str
    base_url: str
    api_version: str
    timeout_seconds: float

    def headers(self, key: str) -> Mapping[str, str]:
        """Return the authentication headers; a placeholder for servers without keys."""
        if self.kind == "azure":
            return {"api-key": key or NO_KEY}
        return {"Authorization": f"Bearer {key or NO_KEY}"}


class Clients:
    """The clients of one event loop."""

    def __init__(self) -> None:
        self._clients: dict[Endpoint, AsyncOpenAI] = {}

    def get(self, endpoint: Endpoint) -> AsyncOpenAI:
        """Return the client of an endpoint."""
        if endpoint not in self._clients:
            self._clients[endpoint] = _make_client(endpoint)
        return self._clients[endpoint]

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()


def _make_client(endpoint: Endpoint) -> AsyncOpenAI:
    # deferred: the imports take a second
    import httpx  # noqa: PLC0415
    from openai import AsyncAzureOpenAI, AsyncOpenAI  # noqa: PLC0415

    from workflows.infra.outbound import transport_to  # noqa: PLC0415

    timeout_seconds = endpoint.timeout_seconds
    limits = httpx.Limits(
        max_connections=CONNECTIONS, max_keepalive_connections=IDLE_CONNECTIONS
    )
    http = httpx.AsyncClient(
        transport=transport_to(endpoint.base_url, guard(), limits),
        trust_env=False,  # the transport reads the proxies; .netrc holds foreign keys
        follow_redirects=False,  # a key stays with the origin it was entered for
        timeout=httpx.Timeout(
            timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)
        ),
    )
    if endpoint.kind == "azure" and endpoint.api_version:
        return AsyncAzureOpenAI(
            azure_endpoint=endpoint.base_url,
            api_version=endpoint.api_version,
            api_key=NO_KEY,
            http_client=http,
            max_retries=0,  # retries are done and recorded here
        )
    return AsyncOpenAI(
        base_url=endpoint.base_url, api_key=NO_KEY, http_client=http, max_retries=0
    )


def guard() -> Guard:
    """Return the guard of the addresses of providers."""
    return Guard(settings.ALLOW_PRIVATE_PROVIDERS, "ALLOW_PRIVATE_PROVIDERS")


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Clients] = WeakKeyDictionary()


def pooled() -> Clients:
    """Return the clients of the running event loop."""
    return _pools.setdefault(asyncio.get_running_loop(), Clients())
