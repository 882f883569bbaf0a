"""What servers and workers know of files without opening them.

PDFium is loaded only in the child processes that open files (`documents.reader`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SIGNATURE_WITHIN: Final = 1024  # bytes: other bytes are allowed before "%PDF-"


def is_pdf(beginning: bytes) -> bool:
    """Whether a file with this beginning is a PDF; the first kilobyte is sufficient."""
    return b"%PDF-" in beginning[:SIGNATURE_WITHIN]


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered page."""

    data: bytes = field(repr=False)  # PNG or JPEG
    width: int  # pixels
    height: int
    dpi: float  # lower than requested if the page is too large for it
