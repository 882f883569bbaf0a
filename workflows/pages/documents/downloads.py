"""Downloads of documents, streamed in pieces, whole or as a range of bytes."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header

from workflows.documents.local_files import local_path
from workflows.documents.page_images import page_image
from workflows.runtime.renderings import SCREEN

if TYPE_CHECKING:
    from django.http import HttpRequest

    from workflows.documents.local_files import StoredFile
    from workflows.models import Document

PDF = "application/pdf"
PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
PARTIAL, UNSATISFIABLE = 206, 416


def download(request: HttpRequest, document: StoredFile) -> HttpResponseBase:
    """Return a document, or a file of a run, as an attachment that no browser renders or runs.

    A single range of bytes is supported; any other `Range` header returns the whole file.
    The file is opened before the response starts. Raises NotFound, StorageFailed.
    """
    span = _span(request.headers.get("Range", ""), document.size)
    if span is None:
        unsatisfiable = HttpResponse(status=UNSATISFIABLE)
        unsatisfiable["Content-Range"] = f"bytes */{document.size}"
        return unsatisfiable
    first, last = span
    length = last - first + 1
    with local_path(document) as path:
        file = Path(path).open("rb")  # noqa: SIM115 - closed with the response
    pieces = _AsyncPieces if isinstance(request, ASGIRequest) else _Pieces
    response = StreamingHttpResponse(
        pieces(file, first, length),
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


def page_image_response(document: Document, number: int, dpi: int) -> HttpResponse:
    """Return a page as an image, which browsers may cache: it never changes.

    Raises ProviderError.
    """
    image, data = page_image(document, number, replace(SCREEN, dpi=dpi))
    response = HttpResponse(data, content_type=image.mime)
    response["X-Content-Type-Options"] = "nosniff"
    patch_cache_control(response, private=True, max_age=86_400, immutable=True)
    return response


def _kind(content_type: str) -> str:
    """Return a content type that no browser renders or runs."""
    return PDF if content_type == PDF else "application/octet-stream"


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte to send; None if the range is outside the file."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size - 1
    if not found[1]:  # the last n bytes
        count = min(int(found[2]), size)
        return (size - count, size - 1) if count else None
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return (first, last) if first <= last else None


class _Pieces:
    """A part of an open file in pieces. It stays readable if the file is deleted."""

    def __init__(self, file: IO[bytes], first: int, length: int) -> None:
        self._file, self._left = file, length
        self.close = weakref.finalize(self, file.close)  # also if it is never read
        file.seek(first)

    def read(self) -> bytes:
        """Return the next piece, b"" at the end."""
        piece = self._file.read(min(PIECE_BYTES, self._left))
        self._left -= len(piece)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


class _AsyncPieces:
    """Pieces that are read on a thread, so that reading does not block the event loop."""

    def __init__(self, file: IO[bytes], first: int, length: int) -> None:
        self._pieces = _Pieces(file, first, length)
        self.close = self._pieces.close  # called by Django at the end of the response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await asyncio.to_thread(self._pieces.read):
                yield piece
        finally:
            self.close()  # Django does not call it after a disconnect
