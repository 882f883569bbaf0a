"""Errors of PDFs and their pages, each with a message for the user.

Invalid
└─ PdfError
   ├─ EmptyFile          nothing was uploaded
   ├─ NotAPdf            another kind of file, also if its name ends in .pdf
   ├─ DamagedPdf         broken, or cut short while it was copied
   ├─ EncryptedPdf       needs a password to open
   ├─ NoPages            a PDF without a page
   ├─ TooManyPages       more than we read
   ├─ PageOutOfRange     there is no page with that number
   ├─ DamagedPage        this page is broken; others may be fine
   └─ PageTooComplex     the page exceeds the limits of memory or time
"""

from __future__ import annotations

from workflows.runtime.errors import Invalid


class PdfError(Invalid):
    """The PDF cannot be used."""

    code = "pdf"


class EmptyFile(PdfError):
    """The file is empty. Choose the file again."""

    code = "pdf.empty"


class NotAPdf(PdfError):
    """The file is not a PDF. Save it as a PDF first."""

    code = "pdf.not_a_pdf"


class DamagedPdf(PdfError):
    """The PDF is damaged and cannot be opened. Get the file again."""

    code = "pdf.damaged"


class EncryptedPdf(PdfError):
    """The PDF is protected by a password. Save it without one first."""

    code = "pdf.encrypted"


class NoPages(PdfError):
    """The PDF has no pages."""

    code = "pdf.no_pages"


class TooManyPages(PdfError):
    """The PDF has too many pages."""

    code = "pdf.too_many_pages"


class PageOutOfRange(PdfError):
    """The PDF has no page with that number."""

    code = "pdf.page_out_of_range"


class DamagedPage(PdfError):
    """The page is damaged and cannot be read."""

    code = "pdf.page_damaged"


class PageTooComplex(PdfError):
    """The page requires more memory or time than is allowed for one page."""

    code = "pdf.page_too_complex"
