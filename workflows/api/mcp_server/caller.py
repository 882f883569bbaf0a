"""Calls of the REST API on behalf of the client of a tool.

Each tool is one or more requests to the API within the process, with the client's token. So
permissions, limits, messages, audit and redaction are those of the API.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import httpx
from mcp.server.mcpserver.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workflows.api.live.viewers import Viewer

ROOT: Final = "/api/v1"
FORWARDED: Final = (b"authorization", b"host", b"x-forwarded-proto", b"x-forwarded-for")

caller: ContextVar[Caller] = ContextVar("caller")
"""The caller of the request that is processed."""


class Caller:
    """The API, with the headers of a client."""

    def __init__(
        self, application: Any, scope: Mapping[str, Any], viewer: Viewer
    ) -> None:
        """Take the application that serves the API, and the scope of the request."""
        self.viewer = viewer
        headers = [
            (name, value) for name, value in scope["headers"] if name in FORWARDED
        ]
        host = next(
            (v.decode("latin-1") for n, v in headers if n == b"host"), "localhost"
        )
        address, port = scope.get("client") or ("", 0)
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(
                app=application, client=(address, port), raise_app_exceptions=False
            ),
            base_url=f"{scope.get('scheme', 'http')}://{host}",
            headers=headers,
        )

    async def close(self) -> None:
        """Close the client, at the end of the request."""
        await self._client.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """Return the body of a GET request. Raises ToolError."""
        given = {
            name: value for name, value in params.items() if value not in (None, "")
        }
        return await self._send("GET", path, params=given)

    async def post(self, path: str, body: Mapping[str, Any], key: str = "") -> Any:
        """Return the body of the response to a POST request. Raises ToolError."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self._send("POST", path, json=body, headers=headers)

    async def _send(self, method: str, path: str, **options: Any) -> Any:
        response = await self._client.request(method, ROOT + path, **options)
        if not response.is_success:
            raise ToolError(_sentence(response))
        return response.json()


def _sentence(response: httpx.Response) -> str:
    """Return the error of a response, with the messages of its fields."""
    try:
        problem = response.json()
        errors: Iterable[Mapping[str, str]] = problem["errors"]
        fields = [f"{one['field']}: {one['message']}" for one in errors]
        return " ".join([problem["detail"], *fields])
    except (ValueError, KeyError):
        return f"The server responded with status {response.status_code}."
