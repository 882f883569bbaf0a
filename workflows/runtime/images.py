"""Pictures of pages, made real: each rendering is made once, kept, and found again.

The key of a picture is its document, its page and every option that makes a difference
to it; the database holds it unique. Whoever asks for one that is being drawn just now, in
this process, waits for it instead of drawing it as well; two processes that draw the same
one keep the first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from workflows.execution.database import when_there
from workflows.models import PageImage
from workflows.runtime import readers
from workflows.runtime.documents import find_document, page_count_of
from workflows.runtime.errors import NotFound
from workflows.runtime.files import at_hand, soon_at_hand
from workflows.runtime.page_ranges import chosen_pages
from workflows.runtime.records import ImageInfo
from workflows.runtime.renderings import RenderOptions

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.models import Document
    from workflows.runtime.pdf import Look, Picture

Key = tuple["UUID", int, str]

_lock = threading.Lock()
_under_way: dict[Key, Future[None]] = {}


class StoredImages:
    """Pages of stored documents, drawn."""

    async def render(
        self, document: UUID, options: RenderOptions | None = None
    ) -> tuple[ImageInfo, ...]:
        """Return the pages that the options name, as pictures, in page order.

        Raises NotFound, Unsupported, InvalidPageRange, PageOutOfRange and PdfError.
        """
        options = options or RenderOptions()
        row = await when_there(find_document, document)
        pages = chosen_pages(options.pages, page_count_of(row))
        return tuple([await _rendered(row, page, options) for page in pages])


async def _rendered(row: Document, page: int, options: RenderOptions) -> ImageInfo:
    image = None if options.force else await when_there(kept, row, page, options.look)
    while image is None:
        with _turn(row, page, options.look) as other:
            if other is not None:
                await asyncio.shield(asyncio.wrap_future(other))
                image = await when_there(kept, row, page, options.look)
                continue
            async with soon_at_hand(row) as path:
                picture = await readers.soon_drawn(path, page, options.look)
            image = await when_there(keep, row, page, options.look, picture)
    data = await asyncio.to_thread(content_of, image)
    return ImageInfo(image.pk, page, image.width, image.height, image.mime, data)


def page_image(row: Document, page: int, options: RenderOptions) -> PageImage:
    """Return the kept picture of a page, drawing it if there is none.

    Raises PdfError, NotFound.
    """
    image = None if options.force else kept(row, page, options.look)
    while image is None:
        with _turn(row, page, options.look) as other:
            if other is not None:
                other.result()
                image = kept(row, page, options.look)
                continue
            with at_hand(row) as path:
                picture = readers.drawn(path, page, options.look)
            image = keep(row, page, options.look, picture)
    return image


@contextmanager
def _turn(row: Document, page: int, look: Look) -> Iterator[Future[None] | None]:
    """Give None to whoever may draw the picture, to others what ends when it is drawn."""
    key = (row.pk, page, look.key)
    with _lock:
        other = _under_way.get(key)
        if other is None:
            mine = _under_way[key] = Future()
    if other is not None:
        yield other
        return
    try:
        yield None
    finally:
        with _lock:
            del _under_way[key]
        mine.set_result(None)  # drawn or not: those who wait look, and may try


def kept(row: Document, page: int, look: Look) -> PageImage | None:
    """Return the picture if it is kept and its file is there."""
    image = PageImage.objects.filter(document=row, page=page, options=look.key).first()
    if image is None or not image.file.storage.exists(str(image.file.name)):
        return None
    return image


def keep(row: Document, page: int, look: Look, picture: Picture) -> PageImage:
    """Keep a picture; in place of an older one, whose file is removed."""
    image = PageImage.objects.filter(document=row, page=page, options=look.key).first()
    older = str(image.file.name) if image else ""
    if image is None:
        image = PageImage(document=row, page=page, options=look.key)
    image.width, image.height, image.mime = picture.width, picture.height, look.mime
    name = f"{row.pk}/{page}-{look.dpi}.{look.format}"
    image.file.save(name, ContentFile(picture.data), save=False)
    storage, newer = image.file.storage, str(image.file.name)
    try:
        with transaction.atomic():
            image.save()
    except IntegrityError:
        storage.delete(newer)  # another process drew it, or the document is gone
        known = kept(row, page, look)
        if known is None:
            raise NotFound(f"“{row.name}” was deleted meanwhile.") from None
        return known
    if older and older != newer:
        storage.delete(older)
    return image


def content_of(image: PageImage) -> bytes:
    """Return the bytes of a kept picture. Raises NotFound: its file is gone."""
    try:
        with image.file.open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise NotFound("The picture of the page was removed just now.") from error
    return data
