"""Files on their way to a browser: a piece at a time, whole or from where it left off."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from workflows.documents.local_files import local_path

if TYPE_CHECKING:
    from django.http import HttpRequest

    from workflows.models import Document

PDF = "application/pdf"
PIECE = 256 * 1024  # bytes
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
PARTIAL, UNSATISFIABLE = 206, 416


def download(request: HttpRequest, document: Document) -> HttpResponseBase:
    """Return a document as a download, never to be opened as what it claims to be.

    One range of bytes is understood; anything else asked of `Range` gives all of it.
    The file is at hand before anything is answered. Raises NotFound, StorageFailed.
    """
    span = _span(request.headers.get("Range", ""), document.size)
    if span is None:
        refused = HttpResponse(status=UNSATISFIABLE)
        refused["Content-Range"] = f"bytes */{document.size}"
        return refused
    first, last = span
    length = last - first + 1
    with local_path(document) as path:
        file = Path(path).open("rb")  # noqa: SIM115 - closed with the answer
    kind = _Apart if isinstance(request, ASGIRequest) else _Pieces
    response = StreamingHttpResponse(
        kind(file, first, length),
        status=PARTIAL if length < document.size else 200,
        content_type=_kind(document.content_type),
    )
    if length < document.size:
        response["Content-Range"] = f"bytes {first}-{last}/{document.size}"
    response["Content-Length"] = str(length)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = f'"{document.sha256}"'
    disposition = content_disposition_header(as_attachment=True, filename=document.name)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _kind(content_type: str) -> str:
    """Return a type that no browser shows or runs by itself."""
    return PDF if content_type == PDF else "application/octet-stream"


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte to send; None: the range lies outside."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size - 1
    if not found[1]:  # the last so many bytes
        count = min(int(found[2]), size)
        return (size - count, size - 1) if count else None
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return (first, last) if first <= last else None


class _Pieces:
    """A part of an open file, a piece at a time. It stays open if its name goes away."""

    def __init__(self, file: IO[bytes], first: int, length: int) -> None:
        """Begin at the first byte."""
        self._file, self._left = file, length
        self.close = weakref.finalize(self, file.close)  # also if nobody reads it
        file.seek(first)

    def read(self) -> bytes:
        """Return the next piece, nothing at the end."""
        piece = self._file.read(min(PIECE, self._left))
        self._left -= len(piece)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""
        return iter(self.read, b"")


class _Apart:
    """The same, each piece read on a thread: the server goes on meanwhile."""

    def __init__(self, file: IO[bytes], first: int, length: int) -> None:
        """Begin at the first byte."""
        self._pieces = _Pieces(file, first, length)
        self.close = self._pieces.close  # Django's, at the end of the answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        try:
            while piece := await asyncio.to_thread(self._pieces.read):
                yield piece
        finally:
            self.close()  # Django does not where a reader has gone away
