"""The format of server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflows.api.schemas_live import Closed
from workflows.errors import InvalidCursor

if TYPE_CHECKING:
    from ninja import Schema

CONTENT_TYPE: Final = "text/event-stream"
HEARTBEAT: Final = ": heartbeat\n\n"
RETRY_SECONDS: Final = 2.0  # before a client connects again
OUTAGE_SECONDS: Final = 10.0  # likewise, during an outage
MAX_ID_LENGTH: Final = 4_000  # characters of Last-Event-ID


@dataclass(frozen=True, slots=True)
class Event:
    """An event that a client has to get exactly once: `id` is the position behind it."""

    kind: str
    id: str
    data: Schema
    has_more: bool = False  # whether another event follows at once
    is_last: bool = False  # whether the stream is complete

    def frame(self) -> str:
        """Return the text of the event."""
        return f"id: {self.id}\n{_frame(self.kind, self.data)}"


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a stream; it leaves the position of the client as it is."""

    code: str
    detail: str
    retry_seconds: float | None = None  # None: connecting again is of no use

    def frame(self) -> str:
        """Return the text of the event."""
        data = Closed(
            code=self.code, detail=self.detail, retry_seconds=self.retry_seconds
        )
        hint = retry(self.retry_seconds) if self.retry_seconds is not None else ""
        return hint + _frame("closed", data)


def retry(seconds: float) -> str:
    """Return the field with the delay before a client reconnects."""
    return f"retry: {round(seconds * 1000)}\n\n"


def position_in(header: str) -> str:
    """Return the value of Last-Event-ID, "" without one. Raises InvalidCursor."""
    if len(header) > MAX_ID_LENGTH:
        raise InvalidCursor
    return header.strip()


def _frame(kind: str, data: Schema) -> str:
    # JSON escapes line breaks, so that the data is one line
    return f"event: {kind}\ndata: {data.model_dump_json()}\n\n"
