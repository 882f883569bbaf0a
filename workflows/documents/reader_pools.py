"""Pools of child processes that open PDFs and read scans."""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.documents.file_kinds import Picture
from workflows.documents.reader import Job, Limits, Pool, Task
from workflows.documents.reader.page_encoding import decode_page
from workflows.runtime.errors import Unavailable
from workflows.runtime.page_style import PageStyle

if TYPE_CHECKING:
    from workflows.runtime.records import Page

PDF_LIMITS = Limits(seconds=60, memory_bytes=1_500_000_000, idle_seconds=60)
OCR_LIMITS = Limits(seconds=180, memory_bytes=4_000_000_000, idle_seconds=300)
OCR_DPI = 200  # resolution of page images for OCR; fax machines send 204 lines per inch
OCR_UNAVAILABLE = (
    "Scans cannot be read here: the extra packages for it are not installed. "
    "`make serve` installs them, or: pip install -r requirements-ocr.txt"
)


@cache
def pages() -> Pool:
    """Return the pool that counts, reads and renders pages."""
    return _closed_at_exit(Pool("page", _size("PDF_PROCESSES"), PDF_LIMITS))


@cache
def scans() -> Pool:
    """Return the OCR pool."""
    return _closed_at_exit(Pool("scan", _size("OCR_PROCESSES"), OCR_LIMITS))


def _size(setting: str) -> int:
    """Return the number of processes; that of CPUs on a worker of a cluster, without Django."""
    size: int = (
        getattr(settings, setting) if settings.configured else os.cpu_count() or 1
    )
    return size


def _closed_at_exit(pool: Pool) -> Pool:
    atexit.register(pool.close)
    return pool


def count_pages(path: str) -> int:
    """Return the number of pages of a PDF. Raises PdfError."""
    return int(pages().run(Task("count", {"path": path})).head["pages"])


async def text_of(path: str, number: int) -> Page:
    """Return the text layer of a page. Raises PdfError."""
    arguments = {"path": path, "page": number}
    reply = await pages().run_async(Task("text", arguments, affinity=path))
    return decode_page(reply.head)


def render_page(
    path: str, number: int, style: PageStyle, job: Job | None = None
) -> Picture:
    """Render a page. Raises PdfError."""
    options = {name: getattr(style, name) for name in style.__slots__}
    arguments = {"path": path, "page": number, "style": options}
    reply = pages().run(Task("draw", arguments, affinity=path), job)
    head = reply.head
    return Picture(
        reply.body, int(head["width"]), int(head["height"]), float(head["dpi"])
    )


async def render_page_async(path: str, number: int, style: PageStyle) -> Picture:
    """Async version of `render_page`; cancellation ends the child process."""
    job = Job()
    return await pages().call(lambda: render_page(path, number, style, job), job)


async def read_page_image(
    path: str, number: int, *, enhanced: bool
) -> tuple[Page, ...]:
    """Return the OCR text of a page; `enhanced` adds variants of the image.

    Raises PdfError, and Unavailable without the OCR packages.
    """
    if not await can_scan():
        raise Unavailable(OCR_UNAVAILABLE)
    picture = await render_page_async(
        path, number, PageStyle(dpi=OCR_DPI, saturation=0)
    )
    arguments = {"page": number, "enhanced": enhanced}
    reply = await scans().run_async(Task("scan", arguments, picture.data))
    return tuple(decode_page(page) for page in reply.head["variants"])


async def can_scan() -> bool:
    """Whether OCR is available; a positive result is cached."""
    if not _ocr_available:
        reply = await scans().run_async(Task("can_scan", {}))
        if reply.head["able"]:
            _ocr_available.append(True)
    return bool(_ocr_available)


_ocr_available: list[bool] = []
