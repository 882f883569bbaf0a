"""What the parts of a Runtime hand out: small frozen records, none of them a row.

Places on a page are fractions of it: 0,0 is the top left corner, 1,1 the bottom right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in fractions of it, from the top left corner."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """Return how far down the page its centre line is, 0..1."""
        return (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        """Return its height as a fraction of the page's."""
        return self.bottom - self.top

    @staticmethod
    def around(boxes: Sequence[Box]) -> Box:
        """Return the smallest box that holds all of some boxes, at least one."""
        return Box(
            min(box.left for box in boxes),
            min(box.top for box in boxes),
            max(box.right for box in boxes),
            max(box.bottom for box in boxes),
        )


@dataclass(frozen=True, slots=True)
class Word:
    """A run of characters between spaces, and where it stands."""

    text: str
    box: Box
    confidence: float = 1.0  # 0..1, how surely it was read; of a text layer always 1


@dataclass(frozen=True, slots=True)
class Line:
    """Words that stand side by side, in the order in which they are read."""

    words: tuple[Word, ...]  # never empty
    unread_before: float = 0.0  # letters of ink that stand before it and were not read
    unread_after: float = 0.0  # and after it

    @property
    def text(self) -> str:
        """Return its words with one space between them."""
        return " ".join(word.text for word in self.words)

    @property
    def box(self) -> Box:
        """Return the smallest box that holds its words."""
        return Box.around([word.box for word in self.words])


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one page, line by line from the top: its text layer, or as it looks.

    A page that was read from its picture may have been turned first: places are those
    of the page as it was read, and `shown` gives them as the page is shown.
    """

    number: int  # from 1
    width: float  # points, 72 to the inch
    height: float
    lines: tuple[Line, ...] = ()  # empty: the page has no text layer
    is_blank: bool = False  # nothing at all is drawn on it
    is_picture: bool = False  # a picture covers most of it, as on a scan
    variant: str = ""  # how its picture was looked at; "" for a text layer
    turned: int = 0  # degrees, clockwise, that it was turned by to be read
    unread: tuple[Box, ...] = ()  # where there is ink that could not be read

    @property
    def text(self) -> str:
        """Return all its lines, one a line."""
        return "\n".join(line.text for line in self.lines)

    def shown(self, box: Box) -> Box:
        """Return a place on the page as it was read as one on the page as it is shown."""
        left, top, right, bottom = box.left, box.top, box.right, box.bottom
        if self.turned == 90:  # noqa: PLR2004 - a quarter turn
            return Box(top, 1 - right, bottom, 1 - left)
        if self.turned == 180:  # noqa: PLR2004 - upside down
            return Box(1 - right, 1 - bottom, 1 - left, 1 - top)
        if self.turned == 270:  # noqa: PLR2004 - a quarter turn back
            return Box(1 - bottom, left, 1 - top, right)
        return box


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What is known of a document without opening it."""

    id: UUID
    name: str  # as uploaded, for people; never a path
    page_count: int | None  # None: a file without pages
    content_type: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One page drawn as a picture."""

    id: UUID
    page: int  # from 1
    width: int  # pixels
    height: int
    mime: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with an agent."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()  # that an assistant asked for
    tool_call_id: str = ""  # which of them a tool's message answers


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answered, and what it cost to ask."""

    text: str
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """A function an agent may ask for, described as OpenAI's function schema is."""

    name: str
    description: str
    parameters: Mapping[str, Any]  # JSON schema of the arguments


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function an agent asks for, with its arguments."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PromptProfile:
    """Which agent a stage talks to, and how."""

    agent: str = ""  # "" leaves it to the workflow
    prompt: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Literal["chat", "vision", "tools", "embed"] = "chat"  # of its agent
    is_optional: bool = False  # nobody is asked unless an agent was chosen

    def messages(self, text: str) -> list[Message]:
        """Return what to say: the prompt as the system's, if there is one, and a text."""
        turns = [Message("user", text)]
        return [Message("system", self.prompt), *turns] if self.prompt else turns


Prompt = str | Sequence[Message]
"""What an agent is asked: one text, or the conversation so far."""
