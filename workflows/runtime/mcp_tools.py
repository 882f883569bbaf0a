"""The tools of MCP servers as tools for agents: `async with mcp_tools(…) as tools`.

A server is reached at an address (streamable HTTP), or is a command that is started here and
speaks over its pipes. A connection is opened by a task of its own, since the protocol's task
groups have to be closed where they were opened, and again after it broke.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from workflows.engine.errors import DefinitionError, describe
from workflows.infra.addresses import AddressRefused, Guard
from workflows.runtime.conversations import Tool
from workflows.runtime.errors import Invalid, TimedOut, Unavailable, UpstreamFailed

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

CALL_SECONDS: Final = 60.0
OPEN_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 5.0
MAX_TOOLS: Final = 1_000
NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")

_guard = Guard(allow_private=True, setting="ALLOW_PRIVATE_PROVIDERS")


def use_guard(guard: Guard) -> None:
    """Connect to the addresses that this guard allows, in this process."""
    global _guard  # noqa: PLW0603 - one per process, as its settings
    _guard = guard


@asynccontextmanager
async def mcp_tools(
    server: str | Sequence[str],
    *,
    name: str = "",
    headers: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = CALL_SECONDS,  # noqa: ASYNC109 - of each call
) -> AsyncIterator[tuple[Tool, ...]]:
    """Yield the tools of an MCP server, connected until the block ends.

    - `server`: an address, or a command with its arguments, as a list.
    - `name`: of the server in messages; by default its host or program.
    - `headers` of requests to an address; `env`, further variables of a command.
    - `timeout`: seconds for each call.

    A tool returns a text for the agent, also where it failed by itself. Raises Unavailable,
    Invalid, UpstreamFailed and TimedOut, as calls of the tools do.
    """
    label = name or _label_of(server)
    if find_spec("mcp") is None:
        raise Unavailable(
            f"The MCP server “{label}” needs the packages of the protocol: pip install"
            " --require-hashes -r requirements-mcp.txt"
        )
    connected = McpServer(server, label, headers or {}, env or {}, timeout)
    try:
        yield await connected.tools()
    finally:
        await connected.close()


@dataclass(slots=True, eq=False)
class McpServer:
    """A server, with a connection that is opened when it is needed."""

    server: str | Sequence[str]
    label: str
    headers: Mapping[str, str] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    seconds: float
    _connection: _Connection | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools that the server lists. Raises as `mcp_tools`."""
        connection = await self._connected()
        found: dict[str, Tool] = {}
        cursor: str | None = None
        while True:
            try:
                async with asyncio.timeout(self.seconds):
                    page = await connection.client.list_tools(cursor=cursor)
            except Exception as error:
                raise self._failure("list its tools", error) from error
            for tool in page.tools:
                self._add(found, tool.name, tool.description, tool.input_schema)
            cursor = page.next_cursor
            if not cursor:
                return tuple(found.values())

    def _add(
        self, found: dict[str, Tool], name: str, description: str | None, schema: Any
    ) -> None:
        """Add a tool under a name that agents accept. Raises Invalid for two with one name."""
        accepted = NOT_IN_NAMES.sub("_", name)
        if accepted in found or len(found) >= MAX_TOOLS:
            raise Invalid(
                f"The MCP server “{self.label}” lists “{name}” twice, or more than"
                f" {MAX_TOOLS:,} tools."
            )
        function = functools.partial(self.call, name)
        found[accepted] = Tool(accepted, description or name, schema, function)

    async def call(self, tool: str, /, **arguments: Any) -> str:
        """Return the result of a tool as a text for an agent. Raises as `mcp_tools`."""
        connection = await self._connected()
        try:
            async with asyncio.timeout(self.seconds):
                result = await connection.client.call_tool(tool, arguments)
        except Exception as error:
            if not connection.is_usable_after(error):
                self._connection = None
                await connection.close()
            raise self._failure(f"call “{tool}”", error) from error
        text = _text_of(result)
        if result.is_error:
            return f"The tool “{tool}” of “{self.label}” failed: {text}"
        return text

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> _Connection:
        async with self._opening:
            if self._connection is None or self._connection.has_ended:
                self._connection = None
                connection = _Connection(self)
                try:
                    await connection.open()
                except Exception as error:
                    raise self._failure("connect", error, OPEN_SECONDS) from error
                self._connection = connection
            return self._connection

    def _failure(self, what: str, error: Exception, seconds: float = 0.0) -> Exception:
        """Return the error that names the server and what it could not do."""
        error = _innermost(error)
        where = f"The MCP server “{self.label}” could not {what}"
        if isinstance(error, TimeoutError):
            seconds = seconds or self.seconds
            return TimedOut(f"{where}: it did not respond within {seconds:g} s.")
        if isinstance(error, AddressRefused):
            return Unavailable(f"{where}: {error}")
        return UpstreamFailed(f"{where}: {describe(error)}")


class _Connection:
    """A connection, opened, kept and closed by one task."""

    client: Client

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._opened: asyncio.Future[Client] = (
            asyncio.get_running_loop().create_future()
        )
        self._close = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was closed, or broke."""
        return self._task is None or self._task.done()

    async def open(self) -> None:
        """Open it. Raises what the attempt raises."""
        self._task = asyncio.create_task(self._keep(), name="mcp connection")
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                self.client = await asyncio.shield(self._opened)
        except BaseException:
            self._task.cancel()
            raise

    async def close(self) -> None:
        """Close it; give up after CLOSE_SECONDS."""
        self._close.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
            if not done:
                self._task.cancel()

    def is_usable_after(self, error: Exception) -> bool:
        """Return whether it can be used for other calls: the server answered, or is late."""
        from mcp import MCPError  # noqa: PLC0415 - an optional requirement
        from mcp.types import CONNECTION_CLOSED  # noqa: PLC0415

        answered = isinstance(error, MCPError) and error.code != CONNECTION_CLOSED
        is_late = isinstance(error, TimeoutError)
        return (answered or is_late) and not self.has_ended

    async def _keep(self) -> None:
        """Open, wait and close. Errors before that go to the caller of `open`."""
        try:
            async with AsyncExitStack() as stack:
                client = await _opened(stack, self._server)
                self._opened.set_result(client)
                await self._close.wait()
        except (
            Exception
        ) as error:  # after the opening: the next call finds that it has ended
            if not self._opened.done():
                self._opened.set_exception(_innermost(error))
                self._opened.exception()
        except BaseException:
            self._opened.cancel()
            raise


async def _opened(stack: AsyncExitStack, server: McpServer) -> Client:
    """Return a client that the stack closes."""
    from mcp import Client, StdioServerParameters  # noqa: PLC0415 - an optional requirement
    from mcp.client.stdio import stdio_client  # noqa: PLC0415
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

    transport: Any
    if isinstance(server.server, str):
        from workflows.runtime.mcp_transport import guarded_client  # noqa: PLC0415

        http = guarded_client(server.server, server.headers, server.seconds, _guard)
        await stack.enter_async_context(http)
        transport = streamable_http_client(server.server, http_client=http)
    else:
        program, *arguments = server.server
        transport = stdio_client(
            StdioServerParameters(
                command=program, args=arguments, env=dict(server.env) or None
            )
        )
    return await stack.enter_async_context(Client(transport))


def _label_of(server: str | Sequence[str]) -> str:
    """Return a name for a server. Raises DefinitionError for what is none."""
    if isinstance(server, str):
        parts = urlsplit(server)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts.hostname
        raise DefinitionError(
            f"mcp_tools({server!r}) has no address: use https://…, or a list of a program"
            " and its arguments."
        )
    if not server or not all(isinstance(part, str) for part in server):
        raise DefinitionError(
            f"mcp_tools({server!r}) has no command: give a list of a program and its"
            " arguments, all of them texts."
        )
    return PurePath(server[0]).name


def _text_of(result: CallToolResult) -> str:
    """Return the content as text; what is no text by its type."""
    if not result.content and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    parts = [
        getattr(part, "text", None) or f"[{getattr(part, 'mime_type', part.type)}]"
        for part in result.content
    ]
    return "\n".join(parts)


def _innermost(error: Exception) -> Exception:
    """Return the only error of a group, at any depth."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
