"""The Documents provider: rows and files, read by child processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from workflows.documents import reader_pools
from workflows.documents.local_files import file_missing, local_path_async
from workflows.documents.storage import storage_errors
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Document, RunFile
from workflows.runtime.errors import NotFound, Unavailable, Unsupported
from workflows.runtime.records import DocumentInfo

if TYPE_CHECKING:
    from os import PathLike
    from uuid import UUID

    from workflows.documents.run_files import RunFiles
    from workflows.runtime.protocols import NodeContext
    from workflows.runtime.records import Page

PDF = "application/pdf"


class StoredDocuments:
    """The uploaded documents and the files of runs, for the nodes of one run."""

    def __init__(self, files: RunFiles, context: NodeContext | None = None) -> None:
        self._files = files
        self._context = context

    def at(self, context: NodeContext) -> StoredDocuments:
        """Return the documents for a node: what it adds is a file of its step."""
        return StoredDocuments(self._files, context)

    async def add(
        self,
        name: str,
        content: bytes | str | PathLike[str],
        /,
        content_type: str | None = None,
    ) -> UUID:
        """Make a file of the run. Raises Invalid, Duplicate, StorageFailed; see `RunFiles`."""
        if self._context is None:
            raise Unavailable(
                "Files are made by nodes: this runtime is not inside one."
            )
        return await self._files.add(self._context, name, content, content_type)

    async def get(self, document: UUID) -> DocumentInfo:
        """Return the name, type and size. Raises NotFound."""
        row = await run_in_db_retrying(find_file, document)
        return DocumentInfo(
            id=row.pk,
            name=row.name,
            page_count=None if isinstance(row, RunFile) else row.page_count,
            content_type=row.content_type,
            size=row.size,
        )

    async def read(self, document: UUID) -> bytes:
        """Return the content. Raises NotFound."""
        row = await run_in_db_retrying(find_file, document)
        return await asyncio.to_thread(_read, row)

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page. Raises NotFound, Unsupported, PdfError."""
        row = await run_in_db_retrying(find_file, document)
        async with local_path_async(row) as path:
            count = await _page_count(row, path)
            return tuple(
                [await reader_pools.text_of(path, page) for page in range(1, count + 1)]
            )

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page, counted from 1. Raises NotFound, PdfError."""
        row = await run_in_db_retrying(find_file, document)
        async with local_path_async(row) as path:
            await _page_count(row, path)
            return await reader_pools.text_of(path, number)

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the text recognized on a page image. Raises as `page`; Unavailable."""
        row = await run_in_db_retrying(find_file, document)
        async with local_path_async(row) as path:
            await _page_count(row, path)
            return await reader_pools.read_page_image(path, number, enhanced=enhanced)


def find_file(document: UUID) -> Document | RunFile:
    """Return the row of a document, or of a file that a run made. Raises NotFound."""
    for rows in (Document.objects.all(), RunFile.objects.all()):
        row: Document | RunFile | None = rows.filter(pk=document).first()
        if row is not None:
            return row
    raise NotFound(f"There is no document {document}. It may have been deleted.")


def find_document(document: UUID) -> Document:
    """Return the row of an uploaded document. Raises NotFound, Unsupported."""
    row = find_file(document)
    if isinstance(row, RunFile):
        raise Unsupported(f"“{row.name}” is a file of a run: it has no page images.")
    return row


def page_count_of(row: Document) -> int:
    """Return the number of pages. Raises Unsupported without pages."""
    if row.page_count is None:
        raise Unsupported(f"“{row.name}” has no pages that could be read.")
    return row.page_count


async def _page_count(row: Document | RunFile, path: str) -> int:
    """Return the number of pages; those of a file of a run are counted now."""
    if not isinstance(row, RunFile):
        return page_count_of(row)
    if row.content_type != PDF:
        raise Unsupported(f"“{row.name}” has no pages that could be read.")
    return await asyncio.to_thread(reader_pools.count_pages, path)


def _read(row: Document | RunFile) -> bytes:
    try:
        with storage_errors(), row.file.storage.open(str(row.file.name)) as file:
            content: bytes = file.read()
    except FileNotFoundError as error:
        raise file_missing(row) from error
    return content
