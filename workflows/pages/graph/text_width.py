"""Estimates of text widths, for layouts that are computed without a browser.

The widths are those of a bold and wide sans-serif font, so that texts have too much room
rather than overlap on systems with such a font.
"""

from __future__ import annotations

from typing import Final

_EM: Final = {  # of characters with unusual width
    **dict.fromkeys("ijl.,:;!|' ", 0.31),
    **dict.fromkeys('frt()[]-/"*', 0.39),
    **dict.fromkeys("mwMW@%…—→×", 0.9),
}
_SAFETY_FACTOR: Final = 1.18
_FULL_WIDTH: Final = 0x1100  # East Asian scripts and symbols start here


def text_width(text: str, size: float) -> float:
    """Estimate the width of a text in pixels, for a font size in pixels."""
    return round(sum(map(_em, text)) * size * _SAFETY_FACTOR, 1)


def _em(letter: str) -> float:
    """Return the width of a character in units of the font size."""
    if letter in _EM:
        return _EM[letter]
    if ord(letter) >= _FULL_WIDTH:
        return 1.0
    return 0.72 if letter.isupper() else 0.59
