"""The Documents provider: rows and files, read by child processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from workflows.documents import reader_pools
from workflows.documents.local_files import file_missing, local_path_async
from workflows.documents.storage import storage_errors
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Document
from workflows.runtime.errors import NotFound, Unsupported
from workflows.runtime.records import DocumentInfo

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.runtime.records import Page


class StoredDocuments:
    """The uploaded documents."""

    async def get(self, document: UUID) -> DocumentInfo:
        """Return the name, type and size. Raises NotFound."""
        row = await run_in_db_retrying(find_document, document)
        return DocumentInfo(
            id=row.pk,
            name=row.name,
            page_count=row.page_count,
            content_type=row.content_type,
            size=row.size,
        )

    async def read(self, document: UUID) -> bytes:
        """Return the content. Raises NotFound."""
        row = await run_in_db_retrying(find_document, document)
        return await asyncio.to_thread(_read, row)

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page. Raises NotFound, Unsupported, PdfError."""
        row = await run_in_db_retrying(find_document, document)
        count = page_count_of(row)
        async with local_path_async(row) as path:
            return tuple(
                [await reader_pools.text_of(path, page) for page in range(1, count + 1)]
            )

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page, counted from 1. Raises NotFound, PdfError."""
        row = await run_in_db_retrying(find_document, document)
        page_count_of(row)
        async with local_path_async(row) as path:
            return await reader_pools.text_of(path, number)

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the text recognized on a page image. Raises as `page`; Unavailable."""
        row = await run_in_db_retrying(find_document, document)
        page_count_of(row)
        async with local_path_async(row) as path:
            return await reader_pools.read_page_image(path, number, enhanced=enhanced)


def find_document(document: UUID) -> Document:
    """Return the row of a document. Raises NotFound."""
    row = Document.objects.filter(pk=document).first()
    if row is None:
        raise NotFound(f"There is no document {document}. It may have been deleted.")
    return row


def page_count_of(row: Document) -> int:
    """Return the number of pages. Raises Unsupported without pages."""
    if row.page_count is None:
        raise Unsupported(f"“{row.name}” has no pages that could be read.")
    return row.page_count


def _read(row: Document) -> bytes:
    try:
        with storage_errors(), row.file.storage.open(str(row.file.name)) as file:
            content: bytes = file.read()
    except FileNotFoundError as error:
        raise file_missing(row) from error
    return content
