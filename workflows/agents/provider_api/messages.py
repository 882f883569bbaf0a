"""Messages, images and tools in the format of the OpenAI API."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from workflows.runtime.conversations import Message, Prompt, Tool, ToolCall
from workflows.runtime.errors import Invalid, InvalidResponse

ChatMessage = dict[str, Any]

# Magic bytes of the supported image types
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
# Parts of the request itself, not allowed as options
RESERVED = frozenset({"model", "messages", "stream", "tools", "input"})


def conversation(prompt: Prompt, system: str) -> list[ChatMessage]:
    """Return the messages; the agent's system prompt is added if they have none.

    Raises Invalid for an empty prompt.
    """
    messages = [Message("user", prompt)] if isinstance(prompt, str) else list(prompt)
    if not any(message.content.strip() or message.tool_calls for message in messages):
        raise Invalid("The prompt is empty.")
    if system and not any(message.role == "system" for message in messages):
        messages.insert(0, Message("system", system))
    return [_to_openai(message) for message in messages]


def _to_openai(message: Message) -> ChatMessage:
    row: ChatMessage = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(dict(call.arguments)),
                },
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        row["tool_call_id"] = message.tool_call_id
    return row


def with_images(
    messages: list[ChatMessage], images: Sequence[bytes | str], agent: str
) -> list[ChatMessage]:
    """Return the messages with the images added to the last user message.

    Raises Invalid without an image or for an unsupported one.
    """
    if not images:
        raise Invalid(f"The agent “{agent}” was called for vision without an image.")
    parts = [
        {"type": "image_url", "image_url": {"url": _data_uri(image, number)}}
        for number, image in enumerate(images, 1)
    ]
    last = max(
        (at for at, message in enumerate(messages) if message["role"] == "user"),
        default=None,
    )
    if last is None:
        raise Invalid("Images require a user message.")
    text = {"type": "text", "text": messages[last]["content"]}
    extended = {**messages[last], "content": [text, *parts]}
    return [*messages[:last], extended, *messages[last + 1 :]]


def _data_uri(image: bytes | str, number: int) -> str:
    if isinstance(image, str):
        if not image.startswith("data:image/") or "," not in image:
            raise Invalid(
                f"Image {number} is not a data URI of an image: pass bytes or a string"
                " starting with “data:image/”."
            )
        return image
    kind = _kind_of(image)
    if not kind:
        raise Invalid(f"Image {number} is not a PNG, JPEG, GIF or WebP image.")
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"


def _kind_of(image: bytes) -> str:
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    for signature, kind in SIGNATURES.items():
        if image.startswith(signature):
            return kind
    return ""


def functions(tools: Sequence[Tool]) -> list[ChatMessage]:
    """Return tools as function schemas. Raises Invalid for none or an invalid schema."""
    if not tools:
        raise Invalid("No tools were given.")
    # deferred: jsonschema takes longer to import than the rest of the package
    from workflows.agents.provider_api.schemas import check_tool_schema  # noqa: PLC0415

    for tool in tools:
        check_tool_schema(tool)
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in tools
    ]


def tool_calls(message: Any, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
    """Return the requested function calls, with arguments validated against the schema.

    Raises InvalidResponse for an invalid call.
    """
    known = {tool.name: tool for tool in tools}
    return tuple(_tool_call(call, known) for call in message.tool_calls or ())


def raw_tool_calls(message: Any) -> str:
    """Return the requested function calls as they came, as JSON."""
    functions = [getattr(call, "function", None) for call in message.tool_calls or ()]
    return json.dumps(
        [
            {
                "name": str(getattr(one, "name", "")),
                "arguments": str(getattr(one, "arguments", "")),
            }
            for one in functions
        ]
    )


def _tool_call(call: Any, known: Mapping[str, Tool]) -> ToolCall:
    function = getattr(call, "function", None)
    name = getattr(function, "name", None) or ""
    if name not in known:
        raise InvalidResponse(f"The model requested the unknown function “{name}”.")
    text = getattr(function, "arguments", None) or "{}"
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidResponse(
            f"The model called “{name}” with arguments that are not an object: {text[:200]}"
        )
    from workflows.agents.provider_api.schemas import check_arguments  # noqa: PLC0415

    check_arguments(known[name], arguments)
    return ToolCall(str(call.id or ""), name, arguments)


def request_body(*options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merged options; later ones take precedence. Raises Invalid."""
    body = {name: value for given in options for name, value in given.items()}
    if wrong := sorted(RESERVED & body.keys()):
        raise Invalid(
            f"“{wrong[0]}” is no option: it is what the call itself is made of."
        )
    return body


def text_length(messages: Sequence[ChatMessage]) -> int:
    """Return the number of characters of all text parts."""
    return sum(
        len(part.get("text", "")) if isinstance(part, Mapping) else len(str(part))
        for message in messages
        for part in (
            message["content"]
            if isinstance(message["content"], list)
            else [message["content"]]
        )
    )
