"""What an author's code requests of an agent, as a text that two calls can be compared by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workflows.runtime.conversations import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from workflows.runtime.conversations import Prompt, Tool

CHAT_KINDS = {"chat", "chat_stream"}  # whose answers are interchangeable


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call as the code of a node makes it: without what administrators configure."""

    kind: str
    agent: str  # as it was given; "" = the default one
    prompt: Prompt = ""
    images: Sequence[bytes | str] = ()
    tools: Sequence[Tool] = ()
    answer: type[BaseModel] | None = None  # of `ask`
    texts: Sequence[str] = ()  # to embed
    options: Mapping[str, Any] = field(default_factory=dict)

    def text(self, repairs: int = 0) -> str:
        """Return the request as JSON in ASCII, equal for equal requests.

        `repairs` counts the earlier requests of the same `ask`. Images are replaced by their
        digests. Raises ValueError or TypeError for a prompt that is no JSON.
        """
        return json.dumps(
            [
                "chat" if self.kind in CHAT_KINDS else self.kind,
                self.agent,
                self._messages(),
                [_image_digest(image) for image in self.images],
                [[tool.name, tool.description, tool.parameters] for tool in self.tools],
                self.answer.model_json_schema() if self.answer else None,
                list(self.texts),
                sorted(self.options.items()),
                repairs,
            ],
            default=_name_of_type,
            skipkeys=True,
        )

    def _messages(self) -> list[Any]:
        given = self.prompt
        messages = [Message("user", given)] if isinstance(given, str) else given
        return [
            [
                message.role,
                message.content,
                [[call.name, call.arguments] for call in message.tool_calls],
            ]
            for message in messages
        ]


def _image_digest(image: bytes | str) -> str:
    """Return the SHA-256 of an image, given as bytes or as a data URI."""
    content = image.encode() if isinstance(image, str) else image
    return hashlib.sha256(content).hexdigest()


def _name_of_type(value: object) -> Any:
    """Return a mapping as a dict, and the type of anything else: no code of an author runs."""
    try:
        return dict(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return type(value).__name__
