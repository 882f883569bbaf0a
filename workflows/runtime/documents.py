"""Documents, made real: rows of the library, read on threads off the event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.execution.database import when_there
from workflows.models import Document
from workflows.runtime.errors import NotFound, Unsupported
from workflows.runtime.pdf import read_page, read_pages
from workflows.runtime.records import DocumentInfo

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.runtime.pdf import Source
    from workflows.runtime.records import Page


class StoredDocuments:
    """The documents people have uploaded."""

    async def get(self, document: UUID) -> DocumentInfo:
        """Return its name, kind and size. Raises NotFound."""
        row = await when_there(find_document, document)
        return DocumentInfo(
            id=row.pk,
            name=row.name,
            page_count=row.page_count,
            content_type=row.content_type,
            size=row.size,
        )

    async def read(self, document: UUID) -> bytes:
        """Return its bytes. Raises NotFound."""
        row = await when_there(find_document, document)
        return await asyncio.to_thread(_read, row)

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page. Raises NotFound, Unsupported, PdfError."""
        row = await when_there(find_document, document)
        return await asyncio.to_thread(read_pages, source_of(row))

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page, from 1. Raises NotFound."""
        row = await when_there(find_document, document)
        return await asyncio.to_thread(read_page, source_of(row), number)


def find_document(document: UUID) -> Document:
    """Return the row of a document. Raises NotFound."""
    row = Document.objects.filter(pk=document).first()
    if row is None:
        raise NotFound(f"There is no document {document}. It may have been deleted.")
    return row


def source_of(row: Document) -> Source:
    """Return where a document can be read from: its path, or its bytes.

    Raises Unsupported for one without pages, NotFound when its file is gone.
    """
    if row.page_count is None:
        raise Unsupported(f"“{row.name}” has no pages that could be read.")
    try:
        path = Path(row.file.path)
    except NotImplementedError:  # storage without paths, such as S3
        return _read(row)
    if not path.exists():
        raise NotFound(f"The file of “{row.name}” is gone from storage.")
    return path


def _read(row: Document) -> bytes:
    try:
        with row.file.open("rb") as file:
            content: bytes = file.read()
    except FileNotFoundError as error:
        raise NotFound(f"The file of “{row.name}” is gone from storage.") from error
    return content
