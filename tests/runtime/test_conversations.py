"""Tools made of typed functions, and the messages of their calls."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from workflows.engine import DefinitionError
from workflows.runtime import (
    FakeAgents,
    Invalid,
    InvalidResponse,
    Message,
    NotFound,
    Reply,
    Tool,
    ToolCall,
    call_tools,
)


class Place(BaseModel):
    city: str


def forecast(
    place: Place, day: dt.date, hours: Annotated[int, Field(ge=1)] = 24
) -> str:
    """Tell the weather of a place."""
    return f"{place.city} {day:%d.%m.%Y} {hours} {threading.current_thread().name}"


async def headlines(count: int) -> list[str]:
    """List the newest headlines."""
    return [f"headline {number}" for number in range(count)]


TOOLS = [Tool.of(forecast), Tool.of(headlines)]


def test_a_tool_has_the_name_docstring_and_types_of_its_function() -> None:
    tool = TOOLS[0]
    assert (tool.name, tool.description) == ("forecast", "Tell the weather of a place.")
    assert tool.parameters["required"] == ["place", "day"]
    assert tool.parameters["additionalProperties"] is False
    properties = tool.parameters["properties"]
    assert properties["day"] == {"format": "date", "title": "Day", "type": "string"}
    assert properties["hours"]["minimum"] == 1
    assert "title" not in tool.parameters


async def test_a_function_gets_values_of_its_types() -> None:
    text = await TOOLS[0].call({"place": {"city": "Bern"}, "day": "2026-11-30"})
    assert text.startswith("Bern 30.11.2026 24 ")
    assert threading.current_thread().name not in text  # it may block


@pytest.mark.parametrize(
    "arguments",
    [
        {"place": {"city": "Bern"}},
        {"place": {"city": "Bern"}, "day": "soon"},
        {"place": {"city": "Bern"}, "day": "2026-11-30", "hours": 0},
        {"place": {"city": "Bern"}, "day": "2026-11-30", "year": 1},
    ],
)
async def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponse, match="“forecast” with invalid arguments"):
        await TOOLS[0].call(arguments)


async def test_a_validation_error_of_the_function_is_its_own() -> None:
    def check(city: str) -> str:
        """Check a place."""
        return Place.model_validate({"town": city}).city

    with pytest.raises(ValueError, match="Field required") as caught:
        await Tool.of(check).call({"city": "Bern"})
    assert not isinstance(caught.value, InvalidResponse)


async def test_calls_become_messages_that_the_agent_can_read() -> None:
    calls = [
        ToolCall("1", "headlines", {"count": 2}),
        ToolCall("2", "forecast", {"place": {"city": "Bern"}, "day": "2026-11-30"}),
    ]
    first, second = await call_tools(calls, TOOLS)
    assert first == Message("tool", '["headline 0","headline 1"]', (), "1")
    assert second.content.startswith("Bern 30.11.2026")
    with pytest.raises(InvalidResponse, match="unknown function “launch”"):
        await call_tools([ToolCall("3", "launch", {})], TOOLS)


async def test_a_tool_without_function_cannot_be_called() -> None:
    with pytest.raises(Invalid, match="“look_up” has no function"):
        await Tool("look_up", "Find a document.", {}).call({})


def no_types(city) -> str:  # type: ignore[no-untyped-def]
    """Do something."""
    return str(city)


def any_names(**cities: str) -> str:
    """Do something."""
    return str(cities)


def undescribed(city: str) -> str:
    return city


def of_a_lock(lock: threading.Event) -> str:
    """Do something."""
    return str(lock)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (no_types, "The parameter “city” of the tool “no_types” has no type"),
        (any_names, "an agent gives arguments by name only"),
        (undescribed, "“undescribed” has no description"),
        (lambda: "", "“<lambda>” cannot be the name of a tool"),
        (of_a_lock, "“of_a_lock” have no JSON schema"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused(function: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Tool.of(function)


async def test_the_default_agent_can_be_faked_without_a_name() -> None:
    call = ToolCall("1", "headlines", {"count": 1})
    agents = FakeAgents(
        [Reply("I look.", calls=(call,)), "Nothing new."], writer=["No."]
    )
    reply = await agents.tools("", "What is new?", TOOLS)
    assert reply.message == Message("assistant", "I look.", (call,))
    assert (await agents.tools("", "And now?", TOOLS)).text == "Nothing new."
    assert (await agents.chat("writer", "Well?")).text == "No."
    with pytest.raises(NotFound, match="There is no default agent"):
        await FakeAgents().chat("", "Well?")
