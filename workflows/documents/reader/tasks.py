"""Tasks of a child: each takes bytes and arguments and returns a header and bytes.

Documents stay open between tasks, so that those who read page after page, one task
each, open them once.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pypdfium2 import PdfDocument

from workflows.documents.pdf import PageStyle, count_pages, draw_page, read_from
from workflows.documents.pdf.files import opened
from workflows.documents.reader.page_encoding import encode_page
from workflows.documents.reader.pipe_protocol import Head

MAX_OPEN_DOCUMENTS = 3  # documents

TaskResult = tuple[Head, bytes]
_open: collections.OrderedDict[tuple[str, int, int], contextlib.ExitStack] = (
    collections.OrderedDict()
)
_documents: dict[tuple[str, int, int], PdfDocument] = {}


def document_at(path: str) -> PdfDocument:
    """Return a document, opened if it is not. Raises PdfError."""
    stat = Path(path).stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in _open:
        while len(_open) >= MAX_OPEN_DOCUMENTS:
            oldest, stack = _open.popitem(last=False)
            del _documents[oldest]
            stack.close()
        stack = contextlib.ExitStack()
        _documents[key] = stack.enter_context(opened(Path(path), forms=True))
        _open[key] = stack
    _open.move_to_end(key)
    return _documents[key]


def count(_: bytes, *, path: str) -> TaskResult:
    """Return the number of pages; the file is closed because it may be temporary."""
    return {"pages": count_pages(Path(path))}, b""


def text(_: bytes, *, path: str, page: int) -> TaskResult:
    """Return the text layer of a page."""
    return encode_page(read_from(document_at(path), page)), b""


def draw(_: bytes, *, path: str, page: int, style: dict[str, Any]) -> TaskResult:
    """Render a page."""
    picture = draw_page(document_at(path), page, PageStyle(**style))
    head = {"width": picture.width, "height": picture.height, "dpi": picture.dpi}
    return head, picture.data


def scan(image: bytes, **options: Any) -> TaskResult:
    """Return the OCR text of a page image."""
    from workflows.documents.reader import ocr  # noqa: PLC0415 - takes a second to load

    return ocr.read_image(image, **options), b""


def can_scan(_: bytes) -> TaskResult:
    """Return whether OCR is available, and the reason if not."""
    try:
        from workflows.documents.reader import ocr  # noqa: F401, PLC0415
    except ImportError as error:
        return {"able": False, "why": str(error)}, b""
    return {"able": True}, b""


TASKS: dict[str, Callable[..., TaskResult]] = {
    task.__name__: task for task in (count, text, draw, scan, can_scan)
}
