"""The Images provider: each rendering is made once, stored and reused.

An image is identified by document, page and all options that affect it; a database
constraint keeps this key unique. Within a process, a request for an image that is being
rendered waits for it; if two processes render the same one, the first is kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from workflows.documents import reader_pools
from workflows.documents.local_files import local_path, local_path_async
from workflows.documents.runtime_documents import find_document, page_count_of
from workflows.documents.storage import delete_files, storage_errors
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import PageImage
from workflows.runtime.errors import NotFound
from workflows.runtime.page_ranges import chosen_pages
from workflows.runtime.records import ImageInfo
from workflows.runtime.renderings import RenderOptions

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models.fields.files import FieldFile

    from workflows.documents.file_kinds import Picture
    from workflows.models import Document
    from workflows.runtime.page_style import PageStyle

Key = tuple["UUID", int, str]
Found = tuple[PageImage, bytes]

_lock = threading.Lock()
_in_progress: dict[Key, Future[None]] = {}


class StoredImages:
    """Page images of stored documents."""

    async def render(
        self, document: UUID, options: RenderOptions | None = None
    ) -> tuple[ImageInfo, ...]:
        """Return the selected pages as images, in page order.

        Raises NotFound, Unsupported, InvalidPageRange, PageOutOfRange, PdfError
        and StorageFailed.
        """
        options = options or RenderOptions()
        row = await run_in_db_retrying(find_document, document)
        pages = chosen_pages(options.pages, page_count_of(row))
        return tuple([await _rendered(row, page, options) for page in pages])


async def _rendered(row: Document, page: int, options: RenderOptions) -> ImageInfo:
    style = options.style
    found = None if options.force else await _stored_async(row, page, style)
    while found is None:
        with _render_slot(row, page, style) as other:
            if other is not None:
                await asyncio.shield(asyncio.wrap_future(other))
                found = await _stored_async(row, page, style)
                continue
            async with local_path_async(row) as path:
                picture = await reader_pools.render_page_async(path, page, style)
            file = await asyncio.to_thread(_save_file, row, page, style, picture)
            image, obsolete = await run_in_db_retrying(
                _save_row, row, page, style, picture, file
            )
            await asyncio.to_thread(delete_files, obsolete)
            found = _require_row(row, image), picture.data
    image, data = found
    return ImageInfo(image.pk, page, image.width, image.height, image.mime, data)


def page_image(
    row: Document, page: int, options: RenderOptions
) -> tuple[PageImage, bytes]:
    """Return the stored image of a page with its bytes, rendering it if missing.

    Raises PdfError, NotFound, StorageFailed.
    """
    style = options.style
    found = None if options.force else _stored(row, page, style)
    while found is None:
        with _render_slot(row, page, style) as other:
            if other is not None:
                other.result()
                found = _stored(row, page, style)
                continue
            with local_path(row) as path:
                picture = reader_pools.render_page(path, page, style)
            file = _save_file(row, page, style, picture)
            image, obsolete = _save_row(row, page, style, picture, file)
            delete_files(obsolete)
            found = _require_row(row, image), picture.data
    return found


@contextmanager
def _render_slot(
    row: Document, page: int, style: PageStyle
) -> Iterator[Future[None] | None]:
    """Yield None to the thread that renders, or the future of the one in progress."""
    key = (row.pk, page, style.key)
    with _lock:
        other = _in_progress.get(key)
        if other is None:
            mine = _in_progress[key] = Future()
    if other is not None:
        yield other
        return
    try:
        yield None
    finally:
        with _lock:
            del _in_progress[key]
        mine.set_result(
            None
        )  # also after a failure: waiting threads check, and may render themselves


# Rows are read on database threads, files on others: a slow storage must not block
# threads that need the database.


def _stored(row: Document, page: int, style: PageStyle) -> Found | None:
    image = _row(row, page, style)
    return _read_content(image) if image else None


async def _stored_async(row: Document, page: int, style: PageStyle) -> Found | None:
    image = await run_in_db_retrying(_row, row, page, style)
    return await asyncio.to_thread(_read_content, image) if image else None


def _row(row: Document, page: int, style: PageStyle) -> PageImage | None:
    rows = PageImage.objects.filter(document=row, page=page, options=style.key)
    return rows.first()


def _read_content(image: PageImage) -> Found | None:
    """Return an image with its bytes, None if its file is missing."""
    try:
        with storage_errors(), image.file.storage.open(str(image.file.name)) as file:
            return image, file.read()
    except FileNotFoundError:
        return None


def _save_file(
    row: Document, page: int, style: PageStyle, picture: Picture
) -> FieldFile:
    """Store an image under a unique name."""
    file: FieldFile = PageImage(document=row).file
    name = f"{row.pk}/{page}-{style.dpi}-{uuid4().hex}.{style.format}"
    with storage_errors():
        file.save(name, ContentFile(picture.data), save=False)
    return file


def _save_row(
    row: Document, page: int, style: PageStyle, picture: Picture, file: FieldFile
) -> tuple[PageImage | None, list[FieldFile]]:
    """Save the row of an image, replacing an older one.

    Returns the row, None if the document was deleted, and the files that are now obsolete.
    """
    image = _row(row, page, style)
    older = [image.file] if image and image.file.name != file.name else []
    if image is None:
        image = PageImage(document=row, page=page, options=style.key)
    image.width, image.height, image.mime = picture.width, picture.height, style.mime
    image.file = file.name
    try:
        with transaction.atomic():
            image.save()
    except IntegrityError:  # another process rendered it, or the document was deleted
        return _row(row, page, style), [file]
    return image, older


def _require_row(row: Document, image: PageImage | None) -> PageImage:
    if image is None:
        raise NotFound(f"“{row.name}” was deleted meanwhile.")
    return image
