"""Exports of rows as streamed CSV, JSON Lines or JSON, with the fields of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.utils import timezone
from ninja import Schema
from pydantic import Field

from workflows.pages.lists.export import KINDS, file_parts, records_text
from workflows.pages.streaming import streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from django.http import StreamingHttpResponse

    from workflows.api.requests import ApiRequest

Format = Literal["csv", "jsonl", "json"]


class FormatQuery(Schema):
    """The format of an export."""

    format: Format = Field(
        "jsonl", description="CSV, JSON Lines, or one JSON array of all rows."
    )


DOCUMENTED: dict[str, Any] = {
    "responses": {
        200: {
            "description": "The file, sent while rows are read.",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": {}}},
            },
        }
    }
}
"""Documentation of an operation that responds with an export."""


@dataclass(frozen=True, slots=True)
class RowExport:
    """Chunks of rows, and the format in which they are written."""

    chunks: Iterable[Sequence[Schema]]  # read one by one
    schema: type[Schema]  # of the rows; its fields are the columns
    kind: Format

    def parts(self) -> Iterator[str]:
        """Yield the parts of the file; each is computed when the previous one was sent."""
        texts = (self._text(rows) for rows in self.chunks if rows)
        return file_parts(self.kind, list(self.schema.model_fields), texts)

    def _text(self, rows: Sequence[Schema]) -> str:
        return records_text(self.kind, [row.model_dump(mode="json") for row in rows])


def respond(
    request: ApiRequest, name: str, kind: str, parts: Callable[[], Iterator[str]]
) -> StreamingHttpResponse:
    """Return an export as a download. Raises TooManyDownloads."""
    response = streamed(
        request,
        parts,
        name=f"{name}-{timezone.now():%Y-%m-%d-%H%M}-UTC.{kind}",
        content_type=KINDS[kind],
    )
    response["Cache-Control"] = "no-store"
    return response
