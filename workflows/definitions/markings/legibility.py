"""Legibility of a page's text layer: a score 0..1, and the reasons for a lower score.

Share of characters that are text, times share of words that look like words, times a
factor for pages with few words. A page without a text layer, such as a scan, has 0; a
blank page has 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from workflows.runtime.records import Page

_MIN_WORDS = 12
_MIN_LEGIBLE_SHARE = 0.5  # score of a page with a single perfect word
_MAX_WORD_LENGTH = 90  # characters: some URLs are long
_MAX_ABBREVIATION = 4  # letters: abbreviations need no vowel
_VOWELS = re.compile(r"[aeiouyàâäáãåæçèéêëíìîïóòôöõøúùûüÿœ]", re.IGNORECASE)
_WRITING = {"L", "M", "N", "P", "Z"}  # letters, accents, numbers, punctuation, spaces
_SIGNS = set("$€£¥%+=<>^~|§©®°™→✓✔☐☑`")
_NEGLIGIBLE_SHARE = 0.95  # a higher share needs no remark


def legibility(page: Page) -> tuple[float, tuple[str, ...]]:
    """Return the legibility score of a page, 0..1, and the reasons why it is not 1."""
    if page.is_blank:
        return 1.0, ("the page is blank",)
    words = page.text.split()
    if not words:
        return 0.0, ("no text layer: the page is an image",)
    written = _share(_is_writing(character) for word in words for character in word)
    wordlike = _share(_may_be_word(word) for word in words)
    certainty = _MIN_LEGIBLE_SHARE + (1 - _MIN_LEGIBLE_SHARE) * min(
        1.0, len(words) / _MIN_WORDS
    )
    reasons = []
    if written < _NEGLIGIBLE_SHARE:
        reasons.append(f"{1 - written:.0%} of the characters are not text")
    if wordlike < _NEGLIGIBLE_SHARE:
        reasons.append(f"{1 - wordlike:.0%} of the words are not recognizable")
    if certainty < 1:
        reasons.append(f"only {len(words)} {'word' if len(words) == 1 else 'words'}")
    return round(written * wordlike * certainty, 2), tuple(reasons)


def _share(answers: Iterable[bool]) -> float:
    """Return the share of true values, 0..1; at least one value is required."""
    given = list(answers)
    return sum(given) / len(given)


def _is_writing(character: str) -> bool:
    return character in _SIGNS or unicodedata.category(character)[0] in _WRITING


def _may_be_word(word: str) -> bool:
    """Whether a string may be a word, number or abbreviation rather than noise."""
    core = word.strip("\"'“”‘’«»()[]{}<>*.,;:!?…-–—/\\|_=+&%#@$€£")
    if not core:
        return (
            len(word) < _MAX_ABBREVIATION or len(set(word)) == 1
        )  # a dash, an ellipsis, a rule
    strange = sum(not (c.isalnum() or c in "'’-–./,:@_&+()%°") for c in core)
    if strange > len(core) / 4 or len(core) > _MAX_WORD_LENGTH:
        return False
    letters = [c for c in core if c.isalpha()]
    if (
        not letters
        or not all(c.isascii() for c in letters)
        or len(letters) <= _MAX_ABBREVIATION
    ):
        return True
    return core.isupper() or _VOWELS.search(core) is not None
