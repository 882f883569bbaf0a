"""Render pages of a PDF as images of limited size."""

from __future__ import annotations

import io
import math
import time

from PIL import ImageEnhance
from PIL.Image import Image, Resampling, Transpose
from pypdfium2 import PdfBitmap, PdfDocument, PdfPage
from pypdfium2.raw import (
    FPDF_ANNOT,
    FPDF_RENDER_TOBECONTINUED,
    IFSDK_PAUSE,
    FPDF_FFLDraw,
    FPDF_RenderPage_Close,
    FPDF_RenderPageBitmap_Start,
    FPDFBitmap_BGR,
)

from workflows.documents.file_kinds import Picture
from workflows.documents.pdf.files import Source, opened, page_of
from workflows.documents.pdf.limits import (
    MAX_PIXELS,
    MAX_SIDE,
    SECONDS_TO_DRAW,
    refuse_bombs,
)
from workflows.runtime.page_style import PageStyle, colour_of
from workflows.runtime.pdf_errors import PageTooComplex

_COMPRESSION = 4  # of 9: half the time of the default, a tenth larger


def render_page(
    source: Source, number: int, *, dpi: int = 150, seconds: float = SECONDS_TO_DRAW
) -> Picture:
    """Return one page, counted from 1, as a PNG. Raises as `draw_page` does."""
    style = PageStyle(dpi=dpi)
    with opened(source, forms=True) as document:
        return draw_page(document, number, style, seconds=seconds)


def draw_page(
    document: PdfDocument,
    number: int,
    style: PageStyle,
    *,
    seconds: float = SECONDS_TO_DRAW,
) -> Picture:
    """Return an image of one page of an opened document.

    A very large page is rendered at fewer dots per inch, so that no image has more than
    MAX_PIXELS before it is turned; one that takes longer than `seconds` is refused.
    Raises PdfError.
    """
    with page_of(document, number) as page:
        refuse_bombs(page, number)
        scale = min(style.dpi / 72, _largest_scale(page))
        bitmap = _blank(page, scale, style)
        try:
            if not _draw(document, page, bitmap, seconds):
                raise PageTooComplex(
                    f"Page {number} takes longer than {seconds:g} s to draw."
                )
            image = _copy(bitmap)
        finally:
            bitmap.close()
    image = adjusted(image, style)
    return Picture(
        _encoded(image, style), image.width, image.height, round(scale * 72, 2)
    )


def _largest_scale(page: PdfPage) -> float:
    """Return the pixels per point, reduced so that the image is within its limits."""
    width, height = page.get_size()
    by_area = math.sqrt(MAX_PIXELS / (width * height))
    return float(min(by_area, MAX_SIDE / max(width, height)))


def _blank(page: PdfPage, scale: float, style: PageStyle) -> PdfBitmap:
    width, height = page.get_size()
    bitmap = PdfBitmap.new_native(
        max(1, round(width * scale)), max(1, round(height * scale)), FPDFBitmap_BGR
    )
    paper = (*colour_of(style.background), 255)
    bitmap.fill_rect(paper, 0, 0, bitmap.width, bitmap.height)
    return bitmap


def _draw(
    document: PdfDocument, page: PdfPage, bitmap: PdfBitmap, seconds: float
) -> bool:
    """Render the page with its annotations and form fields; return False on timeout."""
    ends = time.monotonic() + seconds
    pause = IFSDK_PAUSE(version=1)
    pause.NeedToPauseNow = type(pause.NeedToPauseNow)(
        lambda _: int(time.monotonic() > ends)
    )
    place = (0, 0, bitmap.width, bitmap.height, 0, FPDF_ANNOT)
    try:
        status = FPDF_RenderPageBitmap_Start(bitmap, page, *place, pause)
    finally:
        FPDF_RenderPage_Close(page)
    if status == FPDF_RENDER_TOBECONTINUED:
        return False
    if document.formenv:
        FPDF_FFLDraw(document.formenv, bitmap, page, *place)
    return True


def _copy(bitmap: PdfBitmap) -> Image:
    """Return a copy of the image, so that PDFium's memory can be freed."""
    image: Image = bitmap.to_pil()
    return image.copy()


def adjusted(image: Image, style: PageStyle) -> Image:
    """Return the image with brightness, contrast, grey and rotation applied."""
    steps = (
        (ImageEnhance.Brightness, style.get("brightness") / 100),
        (ImageEnhance.Contrast, 1 + style.get("contrast") / 100),
        (ImageEnhance.Color, style.get("saturation") / 100),
    )
    for enhance, factor in steps:
        if factor != 1:
            image = enhance(image).enhance(factor)
    angle = style.get("rotation") % 360
    if angle in _QUARTERS:
        return image.transpose(_QUARTERS[angle])
    if angle:
        paper = colour_of(style.background)
        return image.rotate(-angle, Resampling.BICUBIC, expand=True, fillcolor=paper)
    return image


_QUARTERS = {  # clockwise; Pillow counts counter-clockwise
    90: Transpose.ROTATE_270,
    180: Transpose.ROTATE_180,
    270: Transpose.ROTATE_90,
}


def _encoded(image: Image, style: PageStyle) -> bytes:
    target = io.BytesIO()
    if style.format == "jpg":
        image.save(target, format="JPEG", quality=style.get("quality"))
    else:
        image.save(target, format="PNG", compress_level=_COMPRESSION)
    return target.getvalue()
