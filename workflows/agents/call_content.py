"""The content of a call as it is stored: bounded, masked, compressed; and read again."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from workflows.infra.text import clean
from workflows.models import CallContent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workflows.agents.call_requests import CallRequest
    from workflows.runtime.conversations import ToolCall

MAX_CHARS: Final = 200_000  # of the prompt, of the answer, and of the tool calls
MESSAGE_CHARS: Final = 100  # counted for a message beside its text
COMPRESSION: Final = 6


class Masks(Protocol):
    """Replaces the secrets of a run."""

    def text(self, text: str) -> str:
        """Return a text without the secrets."""

    def json_text(self, text: str) -> str:
        """Return a JSON text, in ASCII, without the secrets."""


@dataclass(slots=True)
class Exchange:
    """What one call sent and what came back; `answer` is None until it did."""

    request: str = ""  # of CallRequest.text; "" if the workflow keeps no content
    messages: Sequence[Mapping[str, Any]] = ()  # as sent, with images described
    answer: str | None = None
    tool_calls: str = ""  # as JSON
    problem: str = ""  # why the answer could not be parsed

    @classmethod
    def begin(
        cls,
        request: CallRequest,
        messages: Sequence[Mapping[str, Any]],
        repairs: int = 0,
    ) -> Exchange:
        """Return what is sent, as values of JSON that nothing changes later."""
        rows = [_snapshot(message) for message in messages]
        return cls(request.text(repairs), json.loads(json.dumps(rows)))

    def add_tool_calls(self, calls: Iterable[ToolCall]) -> None:
        """Set the calls of tools that the agent requested."""
        rows = [
            {"id": one.id, "name": one.name, "arguments": dict(one.arguments)}
            for one in calls
        ]
        self.tool_calls = json.dumps(rows) if rows else ""


@dataclass(frozen=True, slots=True)
class Cut:
    """A text of which the first characters are kept."""

    text: str = ""
    chars: int = 0  # of the whole text

    @property
    def is_cut(self) -> bool:
        """Whether something is missing."""
        return len(self.text) < self.chars

    @property
    def mark(self) -> str:
        """The sentence that says so, "" for a whole text."""
        if not self.is_cut:
            return ""
        return f"Cut after {len(self.text):,} of {self.chars:,} characters."


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a stored prompt."""

    role: str
    text: Cut
    tool_calls: str = ""
    images: tuple[str, ...] = ()  # a description of each


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The content of a call, read again."""

    messages: tuple[StoredMessage, ...] = ()
    left_out: int = 0  # messages at the end of a prompt that is too long
    answer: Cut | None = None  # None: there was none
    tool_calls: Cut = field(default_factory=Cut)  # JSON
    is_masked: bool = False  # the answer had a secret, which was replaced
    problem: str = ""
    bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the answer can be used in place of a new one."""
        return (
            self.answer is not None
            and not self.answer.is_cut
            and not self.tool_calls.is_cut
            and not self.is_masked
        )

    def as_json(self) -> dict[str, Any]:
        """Return the content as the API and exports show it."""
        return {
            "prompt": [
                {
                    "role": one.role,
                    "text": one.text.text,
                    "tool_calls": one.tool_calls,
                    "images": list(one.images),
                    "cut": one.text.mark,
                }
                for one in self.messages
            ],
            "messages_left_out": self.left_out,
            "answer": self.answer.text if self.answer else None,
            "answer_cut": self.answer.mark if self.answer else "",
            "tool_calls": self.tool_calls.text,
            "tool_calls_cut": self.tool_calls.mark,
            "problem": self.problem,
        }


def digest_of(request: str, masks: Masks) -> bytes:
    """Return the digest that equal requests have, whatever their secrets are."""
    return hashlib.sha256(masks.json_text(request).encode()).digest()


def pack(exchange: Exchange, masks: Masks) -> CallContent:
    """Return the row of a call's content; the caller sets the call and the run.

    Without a request, the answer alone is stored.
    """
    data: dict[str, Any] = {}
    if exchange.request:
        data["messages"], data["left_out"] = _messages(exchange.messages, masks)
    if exchange.answer is not None:
        answer = masks.text(exchange.answer)
        data["answer"] = _cut(answer, MAX_CHARS)
        tool_calls = masks.json_text(exchange.tool_calls)
        data["tool_calls"] = _cut(tool_calls, MAX_CHARS)
        data["is_masked"] = (answer, tool_calls) != (
            exchange.answer,
            exchange.tool_calls,
        )
    packed = zlib.compress(json.dumps(data).encode(), COMPRESSION)
    return CallContent(
        digest=digest_of(exchange.request, masks) if exchange.request else None,
        data=packed,
        bytes=len(packed),
        problem=clean(masks.text(exchange.problem)),
    )


def read(row: CallContent) -> StoredContent:
    """Return the content of a row."""
    data = json.loads(zlib.decompress(bytes(row.data)))
    messages = tuple(
        StoredMessage(
            one["role"],
            Cut(*one["text"]),
            one.get("tool_calls", ""),
            tuple(one.get("images", ())),
        )
        for one in data.get("messages", ())
    )
    answer = data.get("answer")
    return StoredContent(
        messages=messages,
        left_out=data.get("left_out", 0),
        answer=None if answer is None else Cut(*answer),
        tool_calls=Cut(*data.get("tool_calls", ("", 0))),
        is_masked=data.get("is_masked", False),
        problem=row.problem,
        bytes=row.bytes,
    )


def _cut(text: str, limit: int) -> tuple[str, int]:
    return text[: max(limit, 0)], len(text)


def _messages(
    messages: Sequence[Mapping[str, Any]], masks: Masks
) -> tuple[list[dict[str, Any]], int]:
    """Return the messages up to the limit, and how many are left out after it."""
    left, kept = MAX_CHARS, []
    for message in messages:
        if left <= 0:
            break
        text = masks.text(message["text"])
        row: dict[str, Any] = {**message, "text": _cut(text, left)}
        left -= len(row["text"][0]) + MESSAGE_CHARS
        if "tool_calls" in message:
            whole = masks.json_text(json.dumps(message["tool_calls"]))
            row["tool_calls"] = whole if len(whole) <= left else "left out: too long"
            left -= len(row["tool_calls"])
        kept.append(row)
    return kept, len(messages) - len(kept)


def _snapshot(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its images described."""
    content = message["content"]
    row = {"role": message["role"], "text": content}
    if isinstance(content, list):
        texts = [part["text"] for part in content if part.get("type") == "text"]
        row["text"] = "\n".join(texts)
        row["images"] = [
            _described(part["image_url"]["url"])
            for part in content
            if "image_url" in part
        ]
    if message.get("tool_calls"):
        row["tool_calls"] = [call["function"] for call in message["tool_calls"]]
    return row


def _described(uri: str) -> str:
    head, _, encoded = uri.partition(",")
    kind = head.removeprefix("data:").partition(";")[0]
    size = len(encoded) * 3 // 4 - encoded[-2:].count("=")
    return f"{kind}, {size:,} bytes"
