"""Streamed downloads of any length in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from workflows.infra.database_threads import run_in_db

if TYPE_CHECKING:
    from django.http import HttpRequest


def streamed(
    request: HttpRequest,
    chunks: Callable[[], Iterator[str]],
    *,
    name: str,
    content_type: str,
) -> StreamingHttpResponse:
    """Return a download of text chunks; each is read once the previous one is sent."""
    is_async = isinstance(request, ASGIRequest)
    content = _awaited(chunks()) if is_async else chunks()
    response = StreamingHttpResponse(content, content_type=content_type)
    disposition = content_disposition_header(as_attachment=True, filename=name)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response


async def _awaited(chunks: Iterator[str]) -> AsyncIterator[str]:
    """Yield the items of an iterator that queries the database, from a thread."""
    while (chunk := await run_in_db(next, chunks, None)) is not None:
        yield chunk
