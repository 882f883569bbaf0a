"""PDFs people upload, read safely: pages, their text layer, their pictures.

Pure functions over pypdfium2 and Pillow. All are synchronous and may take long: call
them from threads. PDFium is not thread-safe, so one lock of the process, in `files.py`,
is held around every call into it. Whatever is wrong with a file is a `PdfError` with a
sentence for the person who uploaded it.
"""

from workflows.runtime.pdf.errors import (
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
from workflows.runtime.pdf.files import MAX_PAGES, Source, count_pages, is_pdf
from workflows.runtime.pdf.rendering import MAX_DPI, MIN_DPI, Picture, render_page
from workflows.runtime.pdf.text import read_page, read_pages

__all__ = [
    "MAX_DPI",
    "MAX_PAGES",
    "MIN_DPI",
    "DamagedPage",
    "DamagedPdf",
    "EmptyFile",
    "EncryptedPdf",
    "NoPages",
    "NotAPdf",
    "PageOutOfRange",
    "PageTooComplex",
    "PdfError",
    "Picture",
    "Source",
    "TooManyPages",
    "count_pages",
    "is_pdf",
    "read_page",
    "read_pages",
    "render_page",
]
