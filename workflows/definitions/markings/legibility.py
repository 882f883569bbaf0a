"""How well a page's text layer can be read: a figure 0..1, and why it is not 1.

It is the share of characters that belong to writing, times the share of words that
look like words, times what so few words can tell. A page without a text layer, a scan,
has 0: there is nothing that we could have read. One on which nothing is drawn has 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from workflows.runtime.records import Page

_MIN_WORDS = 12
_MIN_LEGIBLE_SHARE = 0.5  # the figure of a page with a single perfect word
_MAX_WORD_LENGTH = 90  # characters: some addresses are long
_MAX_ABBREVIATION = 4  # letters: abbreviations need no vowel
_VOWELS = re.compile(r"[aeiouyàâäáãåæçèéêëíìîïóòôöõøúùûüÿœ]", re.IGNORECASE)
_WRITING = {"L", "M", "N", "P", "Z"}  # letters, accents, numbers, punctuation, spaces
_SIGNS = set("$€£¥%+=<>^~|§©®°™→✓✔☐☑`")
_NEGLIGIBLE_SHARE = 0.95  # a share above is not worth a remark


def legibility(page: Page) -> tuple[float, tuple[str, ...]]:
    """Return the page's figure, 0..1, and the reasons why it is not 1."""
    if page.is_blank:
        return 1.0, ("the page is blank",)
    words = page.text.split()
    if not words:
        return 0.0, ("there is no text layer: the page is a picture",)
    written = _share(_is_writing(character) for word in words for character in word)
    wordlike = _share(_may_be_word(word) for word in words)
    certainty = _MIN_LEGIBLE_SHARE + (1 - _MIN_LEGIBLE_SHARE) * min(
        1.0, len(words) / _MIN_WORDS
    )
    reasons = []
    if written < _NEGLIGIBLE_SHARE:
        reasons.append(f"{1 - written:.0%} of the characters belong to no writing")
    if wordlike < _NEGLIGIBLE_SHARE:
        reasons.append(f"{1 - wordlike:.0%} of the words do not look like words")
    if certainty < 1:
        reasons.append(f"only {len(words)} {'word' if len(words) == 1 else 'words'}")
    return round(written * wordlike * certainty, 2), tuple(reasons)


def _share(answers: Iterable[bool]) -> float:
    """Return how many of some answers, at least one, are yes: 0..1."""
    given = list(answers)
    return sum(given) / len(given)


def _is_writing(character: str) -> bool:
    return character in _SIGNS or unicodedata.category(character)[0] in _WRITING


def _may_be_word(word: str) -> bool:
    """Tell whether it may be a word, a number or an abbreviation, not noise."""
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
