"""The readers of this process: pools of children that open documents and read scans."""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.documents.pdf import PageStyle, Picture
from workflows.documents.reader import Job, Limits, Pool, Task
from workflows.documents.reader.pages import unpacked_page
from workflows.runtime.errors import Unavailable

if TYPE_CHECKING:
    from workflows.runtime.records import Page

PAGES = Limits(seconds=60, memory_bytes=1_500_000_000, idle_seconds=60)
SCANS = Limits(seconds=180, memory_bytes=4_000_000_000, idle_seconds=300)
OCR_DPI = 200  # at which a page is looked at: fax machines send 204 lines to the inch
NO_SCANS = (
    "Scans cannot be read here: the extra packages for it are not installed. "
    "`make serve` installs them, or: pip install -r requirements-ocr.txt"
)


@cache
def pages() -> Pool:
    """Return the children that open PDFs: they count, read and draw pages."""
    return _closed_at_exit(Pool("page", settings.PDF_PROCESSES, PAGES))


@cache
def scans() -> Pool:
    """Return the children that read pictures of pages."""
    return _closed_at_exit(Pool("scan", settings.OCR_PROCESSES, SCANS))


def _closed_at_exit(pool: Pool) -> Pool:
    atexit.register(pool.close)
    return pool


def count_pages(path: str) -> int:
    """Return how many pages a PDF has. Raises PdfError."""
    return int(pages().run(Task("count", {"path": path})).head["pages"])


async def text_of(path: str, number: int) -> Page:
    """Return the text layer of a page. Raises PdfError."""
    asked = {"path": path, "page": number}
    told = await pages().arun(Task("text", asked, near=path))
    return unpacked_page(told.head)


def drawn(path: str, number: int, look: PageStyle, job: Job | None = None) -> Picture:
    """Return a page as a picture. Raises PdfError."""
    options = {name: getattr(look, name) for name in look.__slots__}
    asked = {"path": path, "page": number, "look": options}
    told = pages().run(Task("draw", asked, near=path), job)
    head = told.head
    return Picture(
        told.body, int(head["width"]), int(head["height"]), float(head["dpi"])
    )


async def render_page_async(path: str, number: int, look: PageStyle) -> Picture:
    """Do the same for callers on an event loop: cancelled, its child is ended."""
    job = Job()
    return await pages().call(lambda: drawn(path, number, look, job), job)


async def read_page_image(path: str, number: int, *, again: bool) -> tuple[Page, ...]:
    """Return the text on a page's picture; `again` looks longer, in several ways.

    Raises PdfError, and Unavailable where scans cannot be read.
    """
    if not await can_scan():
        raise Unavailable(NO_SCANS)
    picture = await render_page_async(
        path, number, PageStyle(dpi=OCR_DPI, saturation=0)
    )
    asked = {"page": number, "again": again}
    told = await scans().arun(Task("scan", asked, picture.data))
    return tuple(unpacked_page(page) for page in told.head["looks"])


async def can_scan() -> bool:
    """Tell whether scans can be read here; once they can, that is not asked again."""
    if not _able:
        told = await scans().arun(Task("can_scan", {}))
        if told.head["able"]:
            _able.append(True)
    return bool(_able)


_able: list[bool] = []
