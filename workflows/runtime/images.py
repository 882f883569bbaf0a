"""Pictures of pages, made real: each rendering is made once, kept, and found again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from workflows.execution.database import when_there
from workflows.models import PageImage
from workflows.runtime import readers
from workflows.runtime.documents import find_document
from workflows.runtime.files import at_hand
from workflows.runtime.pdf import Look
from workflows.runtime.records import ImageInfo

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.models import Document

PNG = "image/png"
AT_ONCE = 2  # renderings in progress; PDFium does one at a time anyway

_rendering = asyncio.Semaphore(AT_ONCE)


class StoredImages:
    """Pages of stored documents, drawn."""

    async def render(self, document: UUID, page: int, *, dpi: int = 150) -> ImageInfo:
        """Return one page, from 1, as a PNG. Raises NotFound, PdfError, Invalid."""
        row = await when_there(find_document, document)
        async with _rendering:
            image, data = await when_there(_rendered, row, page, dpi)
        return ImageInfo(
            id=image.pk,
            page=page,
            width=image.width,
            height=image.height,
            mime=image.mime,
            data=data,
        )


def _rendered(row: Document, page: int, dpi: int) -> tuple[PageImage, bytes]:
    image = page_image(row, page, dpi=dpi)
    with image.file.open("rb") as file:
        return image, file.read()


def page_image(row: Document, page: int, *, dpi: int = 150) -> PageImage:
    """Return the kept picture of a page, drawing it if there is none.

    Raises PdfError, Invalid, NotFound.
    """
    options = f"dpi={dpi}"
    known = PageImage.objects.filter(document=row, page=page, options=options).first()
    if known is not None and known.file.storage.exists(str(known.file.name)):
        return known
    with at_hand(row) as path:
        picture = readers.drawn(path, page, Look(dpi=dpi))
    image = known or PageImage(document=row, page=page, options=options, mime=PNG)
    image.width, image.height = picture.width, picture.height
    name = f"{row.pk}/{page}-{dpi}.png"
    image.file.save(name, ContentFile(picture.data), save=False)
    try:
        with transaction.atomic():
            image.save()
    except IntegrityError:
        image.file.delete(save=False)  # another thread drew the same page meanwhile
        return PageImage.objects.get(document=row, page=page, options=options)
    return image
