"""Simulate scans of an old copier: grey, grainy, skewed, without a text layer."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageFilter

from workflows.documents.pdf import render_page
from workflows.samples.writer import Photo, Sheet, write_pdf

_DPI = 110
_PAPER = 236  # grey, of 255
_GRAIN = 34  # amplitude of the noise
_QUALITY = 45  # of the JPEG, of 100


def scanned(sheets: Sequence[Sheet], *, title: str, seed: int) -> bytes:
    """Return a PDF whose pages are images of these pages, each slightly skewed."""
    chance = random.Random(seed)  # noqa: S311 - noise, not a secret
    drawn = write_pdf(sheets, title=title)
    photos = [
        _copied(render_page(drawn, number, dpi=_DPI).data, chance)
        for number in range(1, len(sheets) + 1)
    ]
    return write_pdf([Sheet(photo=photo) for photo in photos], title=title)


def _copied(png: bytes, chance: random.Random) -> Photo:
    """Return a page as scanned: rotated, blurred, grainy, with specks."""
    page = Image.open(io.BytesIO(png)).convert("L").point(_faded)
    page = page.rotate(
        chance.uniform(-1.2, 1.2), Image.Resampling.BICUBIC, fillcolor=_PAPER
    )
    page = page.filter(ImageFilter.GaussianBlur(0.7))
    grain = Image.frombytes("L", page.size, chance.randbytes(page.width * page.height))
    grain = grain.filter(ImageFilter.BoxBlur(1)).point(_softened)
    page = ImageChops.add(page, grain, offset=-_GRAIN)
    for _ in range(60):
        place = (chance.randrange(page.width - 2), chance.randrange(page.height - 2))
        page.paste(chance.randrange(60, 150), (*place, place[0] + 2, place[1] + 2))
    target = io.BytesIO()
    page.save(target, format="JPEG", quality=_QUALITY)
    return Photo(target.getvalue(), page.width, page.height)


def _faded(grey: int) -> float:
    """Replace black by faded ink and white by paper."""
    return 55 + grey * (_PAPER - 55) / 255


def _softened(grey: int) -> float:
    return grey * 2 * _GRAIN / 255
