"""The tools of MCP servers, over pipes and over HTTP, with the official server."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from project.env import ROOT
from tests.engine.test_isolation import until
from workflows.engine import DefinitionError, State, Workflow, node, resource
from workflows.engine.testing import run_in_memory, run_in_memory_async
from workflows.infra.addresses import Guard
from workflows.runtime import (
    FakeAgents,
    FakeRuntime,
    Reply,
    Runtime,
    TimedOut,
    Tool,
    ToolCall,
    Unavailable,
    UpstreamFailed,
    call_tools,
    mcp_tools,
)
from workflows.runtime.mcp_tools import use_guard

pytest.importorskip("mcp", reason="MCP servers need requirements-mcp.txt")

COMMAND = [sys.executable, "-m", "tests.runtime.mcp_server"]
PATHS = {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve MCP over HTTP, and give its address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    process = subprocess.Popen(
        [*COMMAND, str(port)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait()


@pytest.fixture(params=["stdio", "http"])
async def server(request: pytest.FixtureRequest) -> Any:
    """Give each kind of server, as `mcp_tools` takes it."""
    if request.param == "stdio":
        return COMMAND
    address: str = request.getfixturevalue("address")
    await until(lambda: _listens(address))
    return address


def _listens(address: str) -> bool:
    port = int(address.split(":")[2].partition("/")[0])
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def named(tools: Sequence[Tool], name: str) -> Tool:
    return next(tool for tool in tools if tool.name == name)


async def test_an_agent_calls_the_tools_of_a_server(server: Any) -> None:
    async with mcp_tools(server, env=PATHS) as tools:
        tool = named(tools, "population")
        assert tool.description == "Return the number of inhabitants of a city."
        assert tool.parameters["required"] == ["city"]
        calls = [
            ToolCall("1", "population", {"city": "Bern"}),
            ToolCall("2", "city_motto", {"city": "Chur"}),
        ]
        messages = await call_tools(calls, tools)
    assert [message.content for message in messages] == ["134506", "Chur, as ever"]


async def test_the_agent_reads_why_a_tool_failed(server: Any) -> None:
    async with mcp_tools(server, env=PATHS, name="cities") as tools:
        text = await named(tools, "population").call({"city": "Ur"})
    assert text.startswith("The tool “population” of “cities” failed: ")
    assert text.endswith("Ur is unknown")


async def test_a_late_response_fails_with_tool_and_server(server: Any) -> None:
    async with mcp_tools(server, env=PATHS, name="cities", timeout=3) as tools:
        with pytest.raises(TimedOut) as caught:
            await named(tools, "sleep").call({"seconds": 60})
        assert str(caught.value) == (
            "The MCP server “cities” could not call “sleep”: it did not respond within 3 s."
        )
        assert await named(tools, "population").call({"city": "Chur"}) == "38293"


async def test_a_server_that_ended_is_started_again_for_the_next_call() -> None:
    env = {**PATHS, "MOTTO": "once more"}
    async with mcp_tools(COMMAND, env=env) as tools:
        with pytest.raises(UpstreamFailed, match="could not call “end”"):
            await named(tools, "end").call({})
        text = await named(tools, "city_motto").call({"city": "Bern"})
    assert text == "Bern, once more"


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(UpstreamFailed, match=r"“127\.0\.0\.1” could not connect: "):
        async with mcp_tools("http://127.0.0.1:9/mcp"):
            pass
    with pytest.raises(UpstreamFailed, match="“no-such-program” could not connect: "):
        async with mcp_tools(["no-such-program"]):
            pass


async def test_a_private_address_is_refused_where_the_settings_refuse_it(
    address: str,
) -> None:
    use_guard(Guard(allow_private=False, setting="ALLOW_PRIVATE_PROVIDERS"))
    try:
        with pytest.raises(Unavailable, match="set ALLOW_PRIVATE_PROVIDERS"):
            async with mcp_tools(address):
                pass
    finally:
        use_guard(Guard(allow_private=True, setting="ALLOW_PRIVATE_PROVIDERS"))


@pytest.mark.parametrize("server", ["mcp.example.org", "ftp://a", [], [1]])
async def test_what_is_no_server_is_refused(server: Any) -> None:
    with pytest.raises(DefinitionError, match=r"mcp_tools\("):
        async with mcp_tools(server):
            pass


@resource
async def cities() -> AsyncIterator[Sequence[Tool]]:
    """The tools of the server of these tests."""
    async with mcp_tools(COMMAND, env=PATHS) as tools:
        yield tools


class Question(State):
    """A question and its answer."""

    city: str
    answer: str = ""


@node
async def ask(state: Question, runtime: Runtime) -> Question:
    """Let the agent choose a tool, and call it."""
    tools = runtime.get(cities)
    reply = await runtime.agents.tools("", f"How large is {state.city}?", tools)
    (message,) = await call_tools(reply.calls, tools)
    return state.set(answer=message.content)


asking = Workflow("asking", state=Question, start=ask, routes={}, resources=[cities])
CALL = Reply("", calls=(ToolCall("1", "population", {"city": "Bern"}),))


def test_a_test_of_a_workflow_gives_other_tools() -> None:
    def population(city: str) -> int:
        """Return a number."""
        return len(city)

    runtime = FakeRuntime(
        agents=FakeAgents([CALL]), resources={cities: [Tool.of(population)]}
    )
    outcome = run_in_memory(asking, {"city": "Bern"}, runtime=runtime)
    assert outcome.state.answer == "4"


async def test_a_node_uses_a_server_that_is_a_resource() -> None:
    async with mcp_tools(COMMAND, env=PATHS) as tools:
        runtime = FakeRuntime(agents=FakeAgents([CALL]), resources={cities: tools})
        outcome = await run_in_memory_async(asking, {"city": "Bern"}, runtime=runtime)
    assert outcome.state.answer == "134506"
