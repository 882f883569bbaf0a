"""Safe reading of uploaded PDFs: pages, text layer and images.

Pure functions over pypdfium2 and Pillow. They are synchronous and may be slow, and
PDFium is native code: servers and workers call them only in child processes, through
`workflows.documents.reader`. PDFium is not thread-safe: the lock in `files.py` is held
around every call into it. Problems with a file raise PdfError with a message for the
user.
"""

from workflows.documents.pdf.files import MAX_PAGES, Source, count_pages
from workflows.documents.pdf.rendering import draw_page, render_page
from workflows.documents.pdf.text import read_from, read_page, read_pages
from workflows.runtime.page_style import (
    MAX_DPI,
    MIN_DPI,
    InvalidRenderOption,
    PageStyle,
    image_format,
)
from workflows.runtime.pdf_errors import (
    DamagedPage,
    DamagedPdf,
    EmptyFile,
    EncryptedPdf,
    NoPages,
    NotAPdf,
    PageOutOfRange,
    PageTooComplex,
    PdfError,
    TooManyPages,
)

__all__ = [
    "MAX_DPI",
    "MAX_PAGES",
    "MIN_DPI",
    "DamagedPage",
    "DamagedPdf",
    "EmptyFile",
    "EncryptedPdf",
    "InvalidRenderOption",
    "NoPages",
    "NotAPdf",
    "PageOutOfRange",
    "PageStyle",
    "PageTooComplex",
    "PdfError",
    "Source",
    "TooManyPages",
    "count_pages",
    "draw_page",
    "image_format",
    "read_from",
    "read_page",
    "read_pages",
    "render_page",
]
