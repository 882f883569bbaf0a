"""A small PDF writer: text in the standard fonts, rules, boxes, images.

The same pages give the same bytes, always: no dates, no random ids.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 595.0, 842.0  # A4 in points
MARGIN = 64.0

FONTS = {
    "text": "Times-Roman",
    "text-bold": "Times-Bold",
    "text-italic": "Times-Italic",
    "label": "Helvetica",
    "label-bold": "Helvetica-Bold",
    "typed": "Courier",
    "typed-bold": "Courier-Bold",
}
_NAMES = {font: f"F{number}" for number, font in enumerate(FONTS, start=1)}
_TYPED = 0.6  # ems: width of every letter of a monospaced font
_NARROW, _WIDE = set("fijlrtI.,:;'!|()[]/- “”’"), set("mwMW@%—")


@dataclass(frozen=True, slots=True)
class Photo:
    """An image that fills a page."""

    jpeg: bytes
    width: int  # pixels
    height: int


@dataclass
class Sheet:
    """A page to draw on; positions are in points from its top left corner."""

    marks: list[str] = field(default_factory=list)
    photo: Photo | None = None
    width: float = WIDTH  # points; text pages are A4, images may be landscape
    height: float = HEIGHT

    def text(
        self, left: float, top: float, words: str, *, font: str = "text", size: float
    ) -> None:
        """Write a line of text with the baseline at `top`."""
        escaped = words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        place = f"{left:.2f} {HEIGHT - top:.2f}"
        self.marks.append(
            f"BT /{_NAMES[font]} {size:g} Tf {place} Td ({escaped}) Tj ET"
        )

    def centred(
        self, top: float, words: str, *, font: str = "text", size: float
    ) -> None:
        """Write a centred line."""
        left = (WIDTH - width_of(words, font, size)) / 2
        self.text(left, top, words, font=font, size=size)

    def rule(self, top: float, *, thickness: float = 0.6) -> None:
        """Draw a line across the page, between the margins."""
        y = HEIGHT - top
        self.marks.append(f"{thickness} w {MARGIN} {y} m {WIDTH - MARGIN} {y} l S")

    def box(self, left: float, top: float, width: float, height: float) -> None:
        """Fill a rectangle with black."""
        self.marks.append(f"{left} {HEIGHT - top - height} {width} {height} re f")


def width_of(words: str, font: str, size: float) -> float:
    """Return the approximate width of a line in points, to centre and wrap it."""
    if font.startswith("typed"):
        return _TYPED * size * len(words)
    ems = sum(_ems(letter) for letter in words)
    return ems * size * (1.0 if font.startswith("label") else 0.9)


def _ems(letter: str) -> float:
    if letter in _NARROW:
        return 0.3
    if letter in _WIDE:
        return 0.85
    return 0.7 if letter.isupper() else 0.53


def wrapped(words: str, width: float, *, font: str, size: float) -> list[str]:
    """Wrap words into lines of at most a width in points."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, font, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def write_pdf(sheets: Sequence[Sheet], *, title: str) -> bytes:
    """Return a PDF of these pages."""
    file = _File()
    fonts = " ".join(
        f"/{_NAMES[font]} {file.add(_font(name))} 0 R" for font, name in FONTS.items()
    )
    tree = file.reserve()
    pages = [_add_page(file, sheet, tree, fonts) for sheet in sheets]
    kids = " ".join(f"{page} 0 R" for page in pages)
    file.put(tree, f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode())
    root = file.add(f"<</Type/Catalog/Pages {tree} 0 R>>".encode())
    info = file.add(f"<</Title({title})/Producer(Signalbox samples)>>".encode("cp1252"))
    return file.finished(root, info)


def _font(name: str) -> bytes:
    kind = f"/Type/Font/Subtype/Type1/BaseFont/{name}/Encoding/WinAnsiEncoding"
    return f"<<{kind}>>".encode()


def _add_page(file: _File, sheet: Sheet, tree: int, fonts: str) -> int:
    marks, pictures = list(sheet.marks), ""
    if sheet.photo is not None:
        pictures = f"/XObject<</P {file.add(_picture(sheet.photo))} 0 R>>"
        marks.insert(0, f"q {sheet.width} 0 0 {sheet.height} 0 0 cm /P Do Q")
    drawn = zlib.compress("\n".join(marks).encode("cp1252"), 9)
    contents = file.add(_stream("/Filter/FlateDecode", drawn))
    resources = f"/Resources<</Font<<{fonts}>>{pictures}>>"
    box = f"/MediaBox[0 0 {sheet.width:g} {sheet.height:g}]"
    page = f"<</Type/Page/Parent {tree} 0 R{box}{resources}/Contents {contents} 0 R>>"
    return file.add(page.encode())


def _picture(photo: Photo) -> bytes:
    size = f"/Width {photo.width}/Height {photo.height}/BitsPerComponent 8"
    kind = "/Type/XObject/Subtype/Image/ColorSpace/DeviceGray/Filter/DCTDecode"
    return _stream(kind + size, photo.jpeg)


def _stream(facts: str, data: bytes) -> bytes:
    head = f"<<{facts}/Length {len(data)}>>\nstream\n".encode()
    return head + data + b"\nendstream"


class _File:
    """The numbered objects of a PDF, and their cross-reference table."""

    def __init__(self) -> None:
        self._objects: list[bytes] = []

    def reserve(self) -> int:
        """Reserve an object; return its number."""
        return self.add(b"")

    def add(self, content: bytes) -> int:
        """Add an object; return its number, from 1."""
        self._objects.append(content)
        return len(self._objects)

    def put(self, number: int, content: bytes) -> None:
        """Fill an object that was reserved."""
        self._objects[number - 1] = content

    def finished(self, root: int, info: int) -> bytes:
        """Return the whole file."""
        file = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
        begins = []
        for number, content in enumerate(self._objects, start=1):
            begins.append(len(file))
            file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
        table, count = len(file), len(begins) + 1
        rows = "".join(f"{begin:010} 00000 n \n" for begin in begins)
        file += f"xref\n0 {count}\n0000000000 65535 f \n{rows}".encode()
        file += f"trailer\n<</Size {count}/Root {root} 0 R/Info {info} 0 R>>".encode()
        return bytes(file + f"\nstartxref\n{table}\n%%EOF\n".encode())
