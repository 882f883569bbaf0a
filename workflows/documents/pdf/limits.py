"""What one page may ask for: PDFs made to exhaust whoever opens them are refused.

A page can be tiny in the file and huge when it is drawn: an image of a billion equal
pixels, a drawing that holds ten of another that holds ten of another. Such pages are
known by counting, without unpacking them. Work that cannot be counted beforehand is
given SECONDS_TO_DRAW. PDFium cannot be stopped while it *loads* a page; what it unpacks
then is bounded by itself, to about a gigabyte.
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

MAX_CHARACTERS = 500_000  # of one page; a page of a phone book has 20,000
MAX_PAGE_POINTS = 1_000_000  # 350 metres; what is larger is a mistake or an attack
MAX_IMAGE_PIXELS = 250_000_000  # of one image on the page, unpacked
MAX_NESTED = 100_000  # things drawn by drawings within the page
MAX_PIXELS = 25_000_000  # of a rendered page: A4 at 500 dpi, 75 MB while it is drawn
MAX_SIDE = 16_000  # pixels
SECONDS_TO_DRAW = 30.0


def refuse_bombs(page: PdfPage, number: int) -> None:
    """Raises PageTooComplex for a page that would take absurd room or time."""
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
            f"Page {number} is said to measure {width:g} by {height:g} points; "
            f"we read pages of up to {MAX_PAGE_POINTS:,}."
        )


def _within(thing: FPDF_PAGEOBJECT, number: int) -> list[FPDF_PAGEOBJECT]:
    """Return what a drawing holds; nothing for text and lines.

    Raises PageTooComplex for an image too large to unpack.
    """
    kind = FPDFPageObj_GetType(thing)
    if kind == FPDF_PAGEOBJ_IMAGE:
        _refuse_image(thing, number)
    if kind != FPDF_PAGEOBJ_FORM:
        return []
    count = min(FPDFFormObj_CountObjects(thing), MAX_NESTED + 1)
    return [FPDFFormObj_GetObject(thing, index) for index in range(count)]


def _refuse_image(thing: FPDF_PAGEOBJECT, number: int) -> None:
    width, height = ctypes.c_uint(), ctypes.c_uint()
    FPDFImageObj_GetImagePixelSize(thing, width, height)
    if width.value * height.value > MAX_IMAGE_PIXELS:
        raise PageTooComplex(
            f"Page {number} holds an image of {width.value:,} by {height.value:,} "
            f"pixels; we unpack at most {MAX_IMAGE_PIXELS:,} pixels."
        )
