"""Values returned by the parts of a Runtime: small frozen records, not database rows.

Places on a page are fractions of it: 0,0 is the top left corner, 1,1 the bottom right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from workflows.runtime.conversations import Message
from workflows.runtime.errors import Invalid

MAX_PROGRESS_CHARS = 200


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is: 3 of 12, with some words."""

    done: float | None = None
    of: float | None = None  # None: the total is unknown
    text: str = ""

    @classmethod
    def of_values(cls, done: object, of: object, text: object) -> Progress:
        """Return a report of values that an author gave. Raises Invalid."""
        words = str(text)
        if len(words) > MAX_PROGRESS_CHARS:
            words = words[: MAX_PROGRESS_CHARS - 1] + "…"
        return cls(_amount("done", done), _amount("of", of), words)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.done is None and self.of is None and not self.text


def _amount(name: str, value: object) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:  # type: ignore[operator]
        raise Invalid(
            f"progress({name}={value!r}) is not a number: use 0 or more, or leave it out."
        )
    return value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in fractions of the page, from the top left corner."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """Return the vertical centre, 0..1."""
        return (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        """Return the height as a fraction of the page."""
        return self.bottom - self.top

    @staticmethod
    def around(boxes: Sequence[Box]) -> Box:
        """Return the bounding box of at least one box."""
        return Box(
            min(box.left for box in boxes),
            min(box.top for box in boxes),
            max(box.right for box in boxes),
            max(box.bottom for box in boxes),
        )


@dataclass(frozen=True, slots=True)
class Word:
    """Characters between spaces, and their box."""

    text: str
    box: Box
    confidence: float = 1.0  # 0..1, of the OCR; 1 for a text layer


@dataclass(frozen=True, slots=True)
class Line:
    """Adjacent words in reading order."""

    words: tuple[Word, ...]  # never empty
    unread_before: float = 0.0  # letters of unread ink before it
    unread_after: float = 0.0  # and after it

    @property
    def text(self) -> str:
        """Return the words separated by single spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def box(self) -> Box:
        """Return the bounding box of its words."""
        return Box.around([word.box for word in self.words])


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one page, line by line from the top: its text layer, or OCR output.

    A page image may have been rotated for OCR: boxes refer to the rotated page, and `shown`
    converts them to the page as shown.
    """

    number: int  # from 1
    width: float  # points, 72 to the inch
    height: float
    lines: tuple[Line, ...] = ()  # empty: no text layer
    is_blank: bool = False  # nothing is drawn on it
    is_picture: bool = False  # an image covers most of it, as on a scan
    variant: str = ""  # image variant that was read; "" for a text layer
    turned: int = 0  # degrees clockwise by which it was rotated for reading
    unread: tuple[Box, ...] = ()  # boxes of ink that could not be read

    @property
    def text(self) -> str:
        """Return all lines, separated by line breaks."""
        return "\n".join(line.text for line in self.lines)

    def shown(self, box: Box) -> Box:
        """Convert a box on the rotated page to one on the page as shown."""
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
    """Metadata of a document."""

    id: UUID
    name: str  # as uploaded; never a path
    page_count: int | None  # None: a file without pages
    content_type: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A rendered page."""

    id: UUID
    page: int  # from 1
    width: int  # pixels
    height: int
    mime: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PromptProfile:
    """The agent, prompt text and options of a prompt."""

    agent: str = ""  # "": chosen at launch, else the default
    prompt: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Literal["chat", "vision", "tools", "embed"] = (
        "chat"  # required capability of the agent
    )
    is_optional: bool = False  # skipped unless an agent was chosen

    def messages(self, text: str) -> list[Message]:
        """Return the conversation: the prompt as system message, if any, and a user message."""
        turns = [Message("user", text)]
        return [Message("system", self.prompt), *turns] if self.prompt else turns
