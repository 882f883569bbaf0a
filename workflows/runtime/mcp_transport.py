"""HTTP connections to MCP servers, behind the same guard as those to other services.

The `mcp` package uses httpx2, the guarded transports are made for httpx: requests and responses
are passed on between the two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import httpx2

from workflows.infra.outbound import transport_to

if TYPE_CHECKING:
    from workflows.infra.addresses import Guard

LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=5)


class GuardedHttp2(httpx2.AsyncBaseTransport):
    """A transport to one origin, whose addresses are checked when a connection is made."""

    def __init__(self, url: str, guard: Guard) -> None:
        self._inner = transport_to(url, guard, LIMITS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises AddressRefused, and httpx2's errors."""
        passed = httpx.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            content=await request.aread(),
            extensions=request.extensions,
        )
        with _translated():
            response = await self._inner.handle_async_request(passed)
        return httpx2.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Body(response),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of a response, as it arrives."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - of an async transport
        with _translated():
            async for chunk in stream:
                yield chunk

    async def aclose(self) -> None:
        """Release the connection."""
        await self._response.aclose()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise httpx's errors as those of the same name of httpx2."""
    try:
        yield
    except httpx.TransportError as error:
        kind = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise kind(str(error)) from error


def guarded_client(
    url: str, headers: Mapping[str, str], seconds: float, guard: Guard
) -> httpx2.AsyncClient:
    """Return a client for one server; connecting may take `seconds`.

    Reading has no timeout: it would close the connection for all calls, at the moment at
    which the timeout of one call ends that call alone.
    """
    return httpx2.AsyncClient(
        headers=dict(headers),
        timeout=httpx2.Timeout(seconds, read=None),
        transport=GuardedHttp2(url, guard),
        trust_env=False,  # proxies are those of the transport
    )
