"""Functions that agents ask for: sent with their schema, and held to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.agent_rows import AgentSetup, agent_setup, make_agent
from tests.support.openai_server import Answer, ModelServer
from workflows.models import Agent
from workflows.runtime import Invalid, InvalidResponse, Tool, ToolCall

pytestmark = pytest.mark.django_db(transaction=True)
WEATHER = Tool("weather", "Tell the weather.", {"type": "object", "properties": {}})


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def writer(server: ModelServer) -> Agent:
    return make_agent(server)


@pytest.fixture
async def here() -> AsyncIterator[AgentSetup]:
    made = agent_setup()
    yield made
    await made.clients.close()


def a_tool_call(name: str, arguments: str) -> Answer:
    function = {"name": name, "arguments": arguments}
    return Answer(tool_calls=[{"id": "c1", "type": "function", "function": function}])


async def test_tool_definitions_are_sent_and_calls_are_returned_typed(
    server: ModelServer, writer: Agent, here: AgentSetup
) -> None:
    server.script(a_tool_call("weather", '{"city": "Bern"}'), Answer("It rains."))
    reply = await here.agents.tools("writer", "Will it rain?", [WEATHER])
    [call] = reply.calls
    assert call == ToolCall("c1", "weather", {"city": "Bern"})
    assert server.requests[0].body["tools"][0] == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
    reply = await here.agents.tools("writer", "Will it rain?", [WEATHER])
    assert (reply.text, reply.calls) == ("It rains.", ())


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("weather", "{broken", "arguments that are not an object"),
        ("weather", "[1]", "arguments that are not an object"),
        ("launch", "{}", "unknown function “launch”"),
    ],
)
async def test_a_tool_call_that_is_none_fails_with_a_sentence(  # noqa: PLR0913, PLR0917
    server: ModelServer,
    writer: Agent,
    here: AgentSetup,
    name: str,
    arguments: str,
    says: str,
) -> None:
    server.script(a_tool_call(name, arguments))
    with pytest.raises(InvalidResponse, match=says):
        await here.agents.tools("writer", "Will it rain?", [WEATHER])
    assert here.ledger.calls[0].status == "failed"


FORECAST = Tool(
    "forecast",
    "Tell how it will be.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"$ref": "#/$defs/days"},
        },
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"days": {"type": "integer", "minimum": 1}},
    },
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"city": 5}', "city: 5 is not of type 'string'"),
        ('{"days": 1}', "the whole: 'city' is a required property"),
        ('{"city": "Bern", "days": 0}', "days: 0 is less than the minimum of 1"),
        ('{"city": "Bern", "year": 1}', "'year' was unexpected"),
    ],
)
async def test_arguments_that_do_not_fit_the_functions_schema_are_refused(
    server: ModelServer, writer: Agent, here: AgentSetup, arguments: str, says: str
) -> None:
    server.script(
        a_tool_call("forecast", arguments),
        a_tool_call("forecast", '{"city": "Bern", "days": 2}'),
    )
    with pytest.raises(
        InvalidResponse, match=f"“forecast” with invalid arguments.*{says}"
    ):
        await here.agents.tools("writer", "Will it rain?", [FORECAST])
    reply = await here.agents.tools("writer", "Will it rain?", [FORECAST])
    assert reply.calls[0].arguments == {"city": "Bern", "days": 2}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "objekt"}, "are not a JSON schema"),
        ({"$ref": "https://schemas.example/x.json"}, "a schema that is not there"),
    ],
)
async def test_a_tool_without_a_usable_schema_is_the_authors_mistake(
    server: ModelServer,
    writer: Agent,
    here: AgentSetup,
    schema: dict[str, str],
    says: str,
) -> None:
    server.script(a_tool_call("odd", "{}"))
    with pytest.raises(Invalid, match=f"“odd”.*{says}"):
        await here.agents.tools("writer", "Well?", [Tool("odd", "Odd.", schema)])
