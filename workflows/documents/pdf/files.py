"""Opening PDFs, with serialized access to PDFium.

PDFium must not be called by two threads at once, even for different files. Every call
into it, including those that free memory, holds `pdfium`, a process-wide lock. It is held
for one page at a time, so that a long document does not delay pages of other runs; call
these functions from threads, never from an event loop.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from pypdfium2 import PdfDocument, PdfiumError, PdfPage
from pypdfium2.raw import (
    FPDF_ERR_PASSWORD,
    FPDF_ERR_SECURITY,
    FPDF_GetLastError,
    FPDF_LoadDocument,
    FPDF_LoadMemDocument64,
)

from workflows.documents.file_kinds import SIGNATURE_WITHIN, is_pdf
from workflows.runtime.pdf_errors import (
    DamagedPage,
    DamagedPdf,
    EmptyFile,
    EncryptedPdf,
    NoPages,
    NotAPdf,
    PageOutOfRange,
    PdfError,
    TooManyPages,
)

Source = bytes | Path
"""A complete PDF in memory, or its path."""

MAX_PAGES = 5_000
_END_WITHIN = 2048

pdfium = threading.RLock()
"""Process-wide lock that is held during every call into PDFium."""


def count_pages(source: Source) -> int:
    """Return the number of pages, at least 1. Raises PdfError, as `opened` does."""
    with opened(source) as document, pdfium:
        return len(document)


@contextmanager
def opened(source: Source, *, forms: bool = False) -> Iterator[PdfDocument]:
    """Yield the opened document with its form fields initialized; close it at exit.

    Raises EmptyFile, NotAPdf, DamagedPdf, EncryptedPdf, NoPages or TooManyPages.
    """
    _refuse_other_files(source)
    with pdfium:
        document = _open(source)
        if forms:
            document.init_forms()
    try:
        yield document
    finally:
        with pdfium:
            document.close()


@contextmanager
def page_of(document: PdfDocument, number: int) -> Iterator[PdfPage]:
    """Yield a page, counted from 1, while holding the lock.

    Raises PageOutOfRange or DamagedPage.
    """
    with pdfium:
        count = len(document)
        if not 1 <= number <= count:
            raise PageOutOfRange(f"There is no page {number}: the PDF has {count}.")
        try:
            page = document.get_page(number - 1)
        except PdfiumError as error:
            raise DamagedPage(
                f"Page {number} of the PDF is damaged and cannot be read."
            ) from error
        try:
            yield page
        finally:
            page.close()


def _refuse_other_files(source: Source) -> None:
    """Raise EmptyFile or NotAPdf from the first bytes, without PDFium."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            beginning = file.read(SIGNATURE_WITHIN)
    else:
        beginning = source[:SIGNATURE_WITHIN]
    if not beginning:
        raise EmptyFile
    if not is_pdf(beginning):
        raise NotAPdf


def _open(source: Source) -> PdfDocument:
    """Return the document. PDFium reads from `source` while it is open."""
    if isinstance(source, Path):
        handle = FPDF_LoadDocument(os.fsencode(source), None)
    else:
        handle = FPDF_LoadMemDocument64(source, len(source), None)
    if not handle:
        _explain(FPDF_GetLastError(), source)  # valid only directly after a failure
    document = PdfDocument(handle)
    try:
        _refuse_count(len(document))
    except PdfError:
        document.close()
        raise
    return document


def _refuse_count(pages: int) -> None:
    if pages < 1:
        raise NoPages
    if pages > MAX_PAGES:
        raise TooManyPages(
            f"The PDF has {pages:,} pages; we read at most {MAX_PAGES:,}."
        )


def _explain(code: int, source: Source) -> NoReturn:
    """Raise the error for a PDFium error code."""
    if code in (FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY):
        raise EncryptedPdf
    if not _has_end(source):
        raise DamagedPdf(
            "The PDF ends too early: part of the file is missing. "
            "Copy or download it again."
        )
    raise DamagedPdf


def _has_end(source: Source) -> bool:
    """Whether the end-of-file marker is present."""
    if isinstance(source, bytes):
        return b"%%EOF" in source[-_END_WITHIN:]
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_WITHIN))
        return b"%%EOF" in file.read()
