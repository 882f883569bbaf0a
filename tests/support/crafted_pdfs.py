"""PDFs assembled from bytes: unusual, damaged and hostile ones."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
BODY = b"BT /F 11 Tf 72 600 Td (The harbour survey was made in spring.) Tj ET "
LETTER = b"[0 0 612 792]"


def written(
    text: str, *, left: float = 270, up: float = 760, size: float = 16
) -> bytes:
    """Return the operators for a line of text, positioned in points from the lower left."""
    return f"BT /F {size} Tf {left} {up} Td ({text}) Tj ET ".encode()


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """Return a compressed stream object."""
    packed = zlib.compress(data, 9)
    head = b"<<%s/Filter/FlateDecode/Length %d>>stream\n" % (entries, len(packed))
    return head + packed + b"\nendstream"


def image(entries: bytes, data: bytes) -> bytes:
    """Return an image object."""
    return stream(data, b"/Type/XObject/Subtype/Image" + entries)


def one_page(
    content: bytes,
    *,
    box: bytes = LETTER,
    attributes: bytes = b"",
    resources: bytes = b"",
    more: Sequence[bytes] = (),
) -> bytes:
    """Return a PDF with one page; `more` are the objects with numbers from 6."""
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox%s/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>%s>>%s>>" % (box, resources, attributes)
    )
    return file_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page,
        stream(content),
        FONT,
        *more,
    )


def many_pages(count: int) -> bytes:
    """Return a PDF with `count` identical pages."""
    kids = b" ".join(b"%d 0 R" % (5 + number) for number in range(count))
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox%s/Contents 3 0 R"
        b"/Resources<</Font<</F 4 0 R>>>>>>" % LETTER
    )
    return file_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count),
        stream(written("SECRET") + BODY),
        FONT,
        *[page] * count,
    )


def without_pages() -> bytes:
    """Return a well-formed PDF that has no page."""
    return file_of(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>")


def file_of(*objects: bytes, trailer: bytes = b"") -> bytes:
    """Return a PDF with these objects; the first is the catalogue."""
    file, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table, count = len(file), len(objects) + 1
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    file += b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, rows)
    file += b"trailer<</Size %d/Root 1 0 R%s>>\n" % (count, trailer)
    return bytes(file + b"startxref\n%d\n%%%%EOF" % table)


_PADDING = bytes.fromhex(
    "28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a"
)


def encrypted(password: bytes) -> bytes:
    """Return a PDF encrypted with a password (revision 2, 40 bits)."""
    identity, rights = b"0123456789abcdef", -4
    padded = (password + _PADDING)[:32]
    owner = _rc4(_md5(padded)[:5], padded)
    seed = padded + owner + rights.to_bytes(4, "little", signed=True) + identity
    user = _rc4(_md5(seed)[:5], _PADDING)
    encryption = b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P %d>>" % (
        owner.hex().encode(),
        user.hex().encode(),
        rights,
    )
    trailer = b"/Encrypt 4 0 R/ID[<%s><%s>]" % ((identity.hex().encode(),) * 2)
    return file_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox%s>>" % LETTER,
        encryption,
        trailer=trailer,
    )


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)
