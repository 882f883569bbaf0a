"""The text layer of a PDF's pages: words and lines with their positions."""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from pypdfium2 import PdfDocument, PdfPage, PdfTextPage
from pypdfium2.raw import (
    FLAT_NORMALDISPLAY,
    FPDF_PAGEOBJ_IMAGE,
    FS_RECTF,
    FPDF_PageToDevice,
    FPDFPage_CountObjects,
    FPDFPage_Flatten,
    FPDFPage_GetAnnotCount,
    FPDFPage_GetObject,
    FPDFPageObj_GetBounds,
    FPDFPageObj_GetType,
    FPDFText_CountChars,
    FPDFText_GetCharBox,
    FPDFText_GetLooseCharBox,
    FPDFText_GetUnicode,
)

from workflows.documents.pdf.files import Source, opened, page_of, pdfium
from workflows.documents.pdf.limits import MAX_CHARACTERS, refuse_bombs
from workflows.runtime.pdf_errors import PageTooComplex
from workflows.runtime.records import Box, Line, Page, Word

_GRID = 1_000_000  # units of PDFium's coordinates across a page
_INVISIBLE = {"Cc", "Cf", "Cn"}  # control characters, joiners, unassigned
_LINE_BREAKS = "\r\n\f\v\u2028\u2029"
_MIN_PICTURE_SHARE = 0.5  # of the page
_MAX_OBJECTS = 2_000
_HYPHENS = {0x02, 0xFFFE}  # PDFium's code points for a hyphen at the end of a line

Rectangle = tuple[float, float, float, float]  # left, bottom, right, top; in points


def read_page(source: Source, number: int) -> Page:
    """Return the text layer of one page, counted from 1. Raises PdfError."""
    with opened(source, forms=True) as document:
        return read_from(document, number)


def read_pages(source: Source) -> tuple[Page, ...]:
    """Return the text layer of every page. Raises PdfError."""
    with opened(source, forms=True) as document:
        with pdfium:
            count = len(document)
        return tuple(read_from(document, number) for number in range(1, count + 1))


def read_from(document: PdfDocument, number: int) -> Page:
    """Return the text layer of one page of an opened document. Raises PdfError."""
    with _shown_page(document, number) as page:
        return _read(page, number)


@contextmanager
def _shown_page(document: PdfDocument, number: int) -> Iterator[PdfPage]:
    """Yield the page with stamps, annotations and form fields flattened into its text."""
    with page_of(document, number) as page:
        if FPDFPage_GetAnnotCount(page):
            # in memory only; effective after the page is loaded again
            FPDFPage_Flatten(page, FLAT_NORMALDISPLAY)
    with page_of(document, number) as page:
        yield page


def _read(page: PdfPage, number: int) -> Page:
    refuse_bombs(page, number)
    width, height = page.get_size()
    textpage = page.get_textpage()
    try:
        count = FPDFText_CountChars(textpage)
        if count > MAX_CHARACTERS:
            raise PageTooComplex(
                f"Page {number} holds {count:,} characters; "
                f"we read at most {MAX_CHARACTERS:,} of one page."
            )
        gatherer = _TextCollector(page, textpage)
        for index in range(count):
            gatherer.add(index)
        is_blank = not FPDFPage_CountObjects(page)
        lines = gatherer.finish()
        return Page(number, width, height, lines, is_blank, _is_picture(page))
    finally:
        textpage.close()


def _is_picture(page: PdfPage) -> bool:
    """Return whether an image covers most of the page, as on a scan."""
    width, height = page.get_size()
    sides = tuple(ctypes.c_float() for _ in range(4))
    for index in range(min(FPDFPage_CountObjects(page), _MAX_OBJECTS)):
        item = FPDFPage_GetObject(page, index)
        if FPDFPageObj_GetType(item) != FPDF_PAGEOBJ_IMAGE:
            continue
        if FPDFPageObj_GetBounds(item, *(ctypes.byref(side) for side in sides)):
            left, bottom, right, top = (side.value for side in sides)
            if (right - left) * (top - bottom) > _MIN_PICTURE_SHARE * width * height:
                return True
    return False


class _TextRectangles:
    """Reads rectangles from PDFium into reused buffers."""

    def __init__(self, textpage: PdfTextPage) -> None:
        self._textpage = textpage
        self._sides = tuple(ctypes.c_double() for _ in range(4))
        self._arguments = tuple(ctypes.byref(side) for side in self._sides)
        self._loose = FS_RECTF()

    def of(self, index: int) -> Rectangle | None:
        """Return the character's tight box, else its loose box, if any."""
        if FPDFText_GetCharBox(self._textpage, index, *self._arguments):
            left, right, bottom, top = (side.value for side in self._sides)
            if right > left and top > bottom:
                return left, bottom, right, top
        if not FPDFText_GetLooseCharBox(self._textpage, index, self._loose):
            return None
        loose = self._loose
        return loose.left, loose.bottom, loose.right, loose.top


class _TextCollector:
    """Groups characters into words and words into lines."""

    def __init__(self, page: PdfPage, textpage: PdfTextPage) -> None:
        self._page = page
        self._textpage = textpage
        self._rectangles = _TextRectangles(textpage)
        self._letters: list[str] = []
        self._rectangle: Rectangle | None = None
        self._words: list[Word] = []
        self._lines: list[Line] = []

    def add(self, index: int) -> None:
        """Add a character; white space ends a word, a line break ends a line."""
        code = FPDFText_GetUnicode(self._textpage, index)
        character = "-" if code in _HYPHENS else chr(code)
        if not character.isspace():
            self._letters.append(character)
            self._rectangle = _joined(self._rectangle, self._rectangles.of(index))
            return
        self._end_word()
        if character in _LINE_BREAKS:
            self._end_line()

    def finish(self) -> tuple[Line, ...]:
        """Return all lines within the visible page."""
        self._end_word()
        self._end_line()
        return tuple(self._lines)

    def _end_word(self) -> None:
        text = _clean("".join(self._letters))
        box = _box(self._page, self._rectangle) if text and self._rectangle else None
        if box is not None:
            self._words.append(Word(text, box))
        self._letters, self._rectangle = [], None

    def _end_line(self) -> None:
        if self._words:
            self._lines.append(Line(tuple(self._words)))
        self._words = []


def _clean(text: str) -> str:
    """Return a word without characters that cannot be stored: NUL, lone surrogates.

    PDFium returns characters outside the BMP as surrogate pairs; they are joined.
    """
    if text.isascii() and text.isprintable():
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    return "".join(c for c in whole if unicodedata.category(c) not in _INVISIBLE)


def _joined(one: Rectangle | None, other: Rectangle | None) -> Rectangle | None:
    if one is None or other is None:
        return one or other
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _box(page: PdfPage, place: Rectangle) -> Box | None:
    """Return a box as fractions of the page as it is shown: rotated and cropped.

    None: its middle is not on the page.
    """
    left, bottom, right, top = place
    one, other = _shown(page, left, top), _shown(page, right, bottom)
    across, down = sorted((one[0], other[0])), sorted((one[1], other[1]))
    if not (0 <= sum(across) / 2 <= 1 and 0 <= sum(down) / 2 <= 1):
        return None
    return Box(
        _fraction(across[0]),
        _fraction(down[0]),
        _fraction(across[1]),
        _fraction(down[1]),
    )


def _shown(page: PdfPage, right: float, up: float) -> tuple[float, float]:
    """Return a point in page coordinates as fractions of the visible page."""
    x, y = ctypes.c_int(), ctypes.c_int()
    FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, right, up, x, y)
    return x.value / _GRID, y.value / _GRID


def _fraction(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)
