"""Resource limits of a page: PDFs made to exhaust memory or time are rejected.

A page can be small in the file and huge when rendered: an image of a billion equal
pixels, or form objects nested tenfold at several levels. Such pages are detected by
counting, without unpacking them. Other work is limited to SECONDS_TO_DRAW. PDFium cannot
be interrupted while it *loads* a page; the memory it uses then is limited by PDFium to
about a gigabyte.
"""

from __future__ import annotations

import ctypes

from pypdfium2 import PdfPage
from pypdfium2.raw import (
    FPDF_PAGEOBJ_FORM,
    FPDF_PAGEOBJ_IMAGE,
    FPDF_PAGEOBJECT,
    FPDFFormObj_CountObjects,
    FPDFFormObj_GetObject,
    FPDFImageObj_GetImagePixelSize,
    FPDFPage_CountObjects,
    FPDFPage_GetObject,
    FPDFPageObj_GetType,
)

from workflows.runtime.pdf_errors import PageTooComplex

MAX_CHARACTERS = 500_000  # of one page; a phone book page has 20,000
MAX_PAGE_POINTS = 1_000_000  # 350 metres; larger values are errors or attacks
MAX_IMAGE_PIXELS = 250_000_000  # of one embedded image, unpacked
MAX_NESTED = 100_000  # objects in nested form objects
MAX_PIXELS = 25_000_000  # of a rendered page: A4 at 500 dpi, 75 MB during rendering
MAX_SIDE = 16_000  # pixels
SECONDS_TO_DRAW = 30.0


def refuse_bombs(page: PdfPage, number: int) -> None:
    """Raise PageTooComplex for a page that requires excessive memory or time."""
    _refuse_size(page, number)
    nested = 0
    waiting = []
    for index in range(FPDFPage_CountObjects(page)):
        waiting.append(FPDFPage_GetObject(page, index))
        while waiting:
            within = _within(waiting.pop(), number)
            nested += len(within)
            if nested > MAX_NESTED:
                raise PageTooComplex(
                    f"Page {number} draws more than {MAX_NESTED:,} things within "
                    "other drawings, which no ordinary page does."
                )
            waiting.extend(within)


def _refuse_size(page: PdfPage, number: int) -> None:
    width, height = page.get_size()
    if not (0 < width <= MAX_PAGE_POINTS and 0 < height <= MAX_PAGE_POINTS):
        raise PageTooComplex(
            f"Page {number} measures {width:g} by {height:g} points; "
            f"we read pages of up to {MAX_PAGE_POINTS:,}."
        )


def _within(item: FPDF_PAGEOBJECT, number: int) -> list[FPDF_PAGEOBJECT]:
    """Return the objects within a form object; none for text and lines.

    Raises PageTooComplex for an image too large to unpack.
    """
    kind = FPDFPageObj_GetType(item)
    if kind == FPDF_PAGEOBJ_IMAGE:
        _refuse_image(item, number)
    if kind != FPDF_PAGEOBJ_FORM:
        return []
    count = min(FPDFFormObj_CountObjects(item), MAX_NESTED + 1)
    return [FPDFFormObj_GetObject(item, index) for index in range(count)]


def _refuse_image(item: FPDF_PAGEOBJECT, number: int) -> None:
    width, height = ctypes.c_uint(), ctypes.c_uint()
    FPDFImageObj_GetImagePixelSize(item, width, height)
    if width.value * height.value > MAX_IMAGE_PIXELS:
        raise PageTooComplex(
            f"Page {number} holds an image of {width.value:,} by {height.value:,} "
            f"pixels; we unpack at most {MAX_IMAGE_PIXELS:,} pixels."
        )
