"""Conversations with agents: messages, replies, tools and calls of tools."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NotRequired, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_json
from typing_extensions import TypedDict

from workflows.engine.errors import DefinitionError, describe
from workflows.runtime.errors import Invalid, InvalidResponse

TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what OpenAI's API accepts


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call requested by an agent."""

    id: str
    name: str
    arguments: Mapping[str, Any]

    def response(self, result: object) -> Message:
        """Return the message with the result: text as it is, anything else as JSON."""
        text = result if isinstance(result, str) else to_json(result).decode()
        return Message("tool", text, tool_call_id=self.id)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()  # requested by an assistant
    tool_call_id: str = ""  # of the tool call that this message responds to


@dataclass(frozen=True, slots=True)
class Reply:
    """An agent's response with its token counts."""

    text: str
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    calls: tuple[ToolCall, ...] = ()  # of tools

    @property
    def message(self) -> Message:
        """Return the response as a message, to continue the conversation with."""
        return Message("assistant", self.text, self.calls)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that an agent may call, as in OpenAI's function schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]  # JSON schema of the arguments
    function: Callable[..., Any] | None = field(
        default=None, compare=False, repr=False
    )  # called with the arguments by name

    @classmethod
    def of(
        cls, function: Callable[..., Any], *, name: str = "", description: str = ""
    ) -> Tool:
        """Return a tool of a typed function: its name, docstring and parameters.

        Describe a parameter with `Annotated[str, Field(description="…")]`. Raises
        DefinitionError for a function without types, or without a docstring.
        """
        name = name or getattr(function, "__name__", "")
        if not TOOL_NAME.fullmatch(name):
            raise DefinitionError(
                f"“{name}” cannot be the name of a tool: use letters, digits, “_” and “-”."
            )
        description = description or inspect.getdoc(function) or ""
        if not description:
            raise DefinitionError(
                f"The tool “{name}” has no description, by which an agent chooses it: give"
                " its function a docstring."
            )
        arguments = _arguments_of(function, name)
        schema = arguments.json_schema()
        schema.pop("title", None)

        def call(**given: Any) -> Any:
            return function(**arguments.validate_python(given))

        return cls(name, description, schema, call)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Return the result of its function; a sync function is called in a thread.

        Raises InvalidResponse for arguments that do not fit its types, and what the
        function raises.
        """
        if self.function is None:
            raise Invalid(f"The tool “{self.name}” has no function that can be called.")
        try:
            result = await asyncio.to_thread(self.function, **arguments)
        except ValidationError as error:
            if error.title != _title_of(self.name):  # of the function itself
                raise
            raise InvalidResponse(
                f"The model called “{self.name}” with invalid arguments: {error}"
            ) from error
        return await result if inspect.isawaitable(result) else result


async def call_tools(calls: Sequence[ToolCall], tools: Sequence[Tool]) -> list[Message]:
    """Call the functions of tools in order, and return a message with each result.

    Raises InvalidResponse for an unknown tool or arguments that do not fit, and what a
    function raises: catch it in the function to let the agent read the error instead.
    """
    known = {tool.name: tool for tool in tools}
    messages = []
    for call in calls:
        if call.name not in known:
            raise InvalidResponse(
                f"The model requested the unknown function “{call.name}”."
            )
        result = await known[call.name].call(call.arguments)
        messages.append(call.response(result))
    return messages


def _arguments_of(function: Callable[..., Any], name: str) -> TypeAdapter[Any]:
    """Return a validator of the arguments by name. Raises DefinitionError."""
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise DefinitionError(
            f"The types of the tool “{name}” cannot be read: {describe(error)}"
        ) from error
    fields: dict[str, Any] = {}
    for one in parameters:
        if one.kind not in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY}:
            raise DefinitionError(
                f"The tool “{name}” has the parameter “{one}”: an agent gives arguments by"
                " name only."
            )
        if one.name not in hints:
            raise DefinitionError(
                f"The parameter “{one.name}” of the tool “{name}” has no type."
            )
        is_required = one.default is inspect.Parameter.empty
        fields[one.name] = (
            hints[one.name] if is_required else NotRequired[hints[one.name]]
        )
    make: Any = TypedDict  # with names that are known here only
    arguments = make(_title_of(name), fields)
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(arguments)
        adapter.json_schema()
    except PydanticUserError as error:
        raise DefinitionError(
            f"The types of the tool “{name}” have no JSON schema: {error.message}"
        ) from error
    return adapter


def _title_of(name: str) -> str:
    return f"Arguments of {name}"


Prompt = str | Sequence[Message]
"""The input of an agent: one text or a conversation."""
