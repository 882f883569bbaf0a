"""About how wide a text is drawn, for layouts that are made without a browser.

Widths of letters are those of a bold and wide sans serif, as some systems have: a text
should rather have too much room than touch what stands next to it.
"""

from __future__ import annotations

from typing import Final

_EM: Final = {  # of the letters that are not as wide as most
    **dict.fromkeys("ijl.,:;!|' ", 0.31),
    **dict.fromkeys('frt()[]-/"*', 0.39),
    **dict.fromkeys("mwMW@%…—→×", 0.9),
}
_GENEROUS: Final = 1.18
_FULL_WIDTH: Final = 0x1100  # letters of East Asian scripts, and signs, from here on


def text_width(text: str, size: float) -> float:
    """Return about how many pixels a text is wide at a font size in pixels."""
    return round(sum(map(_em, text)) * size * _GENEROUS, 1)


def _em(letter: str) -> float:
    """Return the width of a letter in units of the font size."""
    if letter in _EM:
        return _EM[letter]
    if ord(letter) >= _FULL_WIDTH:
        return 1.0
    return 0.72 if letter.isupper() else 0.59
