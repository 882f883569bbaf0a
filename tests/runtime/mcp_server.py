"""An MCP server for tests: `python -m tests.runtime.mcp_server [port]`; pipes without a port."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

POPULATIONS = {"Bern": 134_506, "Chur": 38_293}
server = MCPServer("cities")


@server.tool()
def population(city: str) -> int:
    """Return the number of inhabitants of a city."""
    if city not in POPULATIONS:
        raise ToolError(f"{city} is unknown")
    return POPULATIONS[city]


@server.tool(name="city.motto")
def motto(city: str) -> str:
    """Return the motto of a city."""
    return f"{city}, {os.environ.get('MOTTO', 'as ever')}"


@server.tool()
async def sleep(seconds: float) -> str:
    """Respond late."""
    await asyncio.sleep(seconds)
    return "awake"


@server.tool()
def end() -> str:
    """End the server."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
