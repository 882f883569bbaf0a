"""Fuzzy matching of OCR lines with missing or misread letters against markings.

A worn stamp loses letters and OCR misreads some. A line is compared with known markings
by a weighted edit distance: a similar letter costs little, a missing letter more, a
different letter most.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from workflows.definitions.markings.grammar import normal
from workflows.definitions.markings.levels import Level, rank_of

EXACT_SCORE = 0.97  # all letters are present
MIN_SCORE = 0.62  # minimum score of a match
_MIN_LETTERS = 3  # in the right position
_MAX_LENGTH = 48

_SIMILAR_COST, _MISSING_COST, _WRONG_COST, _EXTRA_COST, _SPECK_COST = (
    0.2,
    0.75,
    1.0,
    0.7,
    0.1,
)
_GROUPS = (
    "O0QDC",
    "I1L|!TJ",
    "S5$Z2",
    "B8R3",
    "EFCG",
    "NMHW",
    "UVY",
    "PRF",
    "A4",
    "G6C",
)
_SIMILAR = {(a, b) for group in _GROUPS for a in group for b in group}
_SEPARATORS = set("/\\|I1L!:;.,-")
_MAX_SEPARATORS = 4

_LEVELS = {
    "TOPSECRET": Level.TOP_SECRET,
    "SECRET": Level.SECRET,
    "STRICTLYCONFIDENTIAL": Level.STRICTLY_CONFIDENTIAL,
    "CONFIDENTIAL": Level.CONFIDENTIAL,
    "RESTRICTED": Level.RESTRICTED,
    "OFFICIAL-SENSITIVE": Level.OFFICIAL_SENSITIVE,
    "UNCLASSIFIED": Level.UNCLASSIFIED,
}
_CAVEATS = {
    "NOFORN": "NOFORN",
    "ORCON": "ORCON",
    "LIMDIS": "LIMDIS",
    "NODIS": "NODIS",
    "EXDIS": "EXDIS",
    "PROPIN": "PROPIN",
    "WNINTEL": "WNINTEL",
    "NOCONTRACT": "NOCONTRACT",
    "IMCON": "IMCON",
    "RELIDO": "RELIDO",
    "RELTO": "REL",
    "CRYPTO": "CRYPTO",
    "ATOMAL": "ATOMAL",
    "FOUO": "FOUO",
    "EYESONLY": "EYES ONLY",
    "SI": "SI",
    "TK": "TK",
    "HCS": "HCS",
}
_MAX_CAVEATS = 4
_MAX_WRONG_SHARE = 1 - MIN_SCORE  # share of letters


@dataclass(frozen=True, slots=True)
class FuzzyMatch:
    """A possible marking for a line, with a score."""

    level: Level | None
    caveats: tuple[str, ...]
    score: float  # 0..1
    is_clear: bool  # no unidentified text next to it

    @property
    def is_exact(self) -> bool:
        """Whether it counts as read exactly."""
        return self.score >= EXACT_SCORE and self.is_clear


def fuzzy_matches(text: str) -> tuple[FuzzyMatch, ...]:
    """Return the best match per level for a line, best first."""
    return _matches("".join(normal(text).upper().split())[:_MAX_LENGTH])


@functools.lru_cache(maxsize=4096)  # of beginnings: a line can be long
def _matches(characters: str) -> tuple[FuzzyMatch, ...]:
    if not re.search(r"[A-Z]{2}|[A-Z].[A-Z]", characters):
        return ()
    found: list[FuzzyMatch] = []
    for word, level in _LEVELS.items():
        best = max(_readings(characters, word, level), key=_worth, default=None)
        if best is not None and best.score >= MIN_SCORE:
            found.append(best)
    return tuple(sorted(found, key=_worth, reverse=True))


def _worth(likeness: FuzzyMatch) -> tuple[float, int]:
    score = round(likeness.score - 0.04 * (not likeness.is_clear), 3)
    return score, rank_of(likeness.level)


def _readings(characters: str, word: str, level: Level) -> Iterator[FuzzyMatch]:
    for end, cost, right in _prefix_costs(characters, word):
        if cost > _MAX_WRONG_SHARE * len(word) or right < _MIN_LETTERS:
            continue
        tail = _tail(characters[end:], _MAX_CAVEATS)
        total = cost + tail.cost
        score = 1 - total / (len(word) + tail.length)
        yield FuzzyMatch(level, tail.caveats, round(max(score, 0.0), 3), tail.is_clear)


@dataclass(frozen=True, slots=True)
class _Tail:
    cost: float
    length: int  # of the caveats
    caveats: tuple[str, ...]
    is_clear: bool


@functools.lru_cache(maxsize=8192)
def _tail(characters: str, limit: int) -> _Tail:
    """Return the most likely caveats for some characters."""
    letters = sum(character.isalnum() for character in characters)
    unknown = letters - sum(
        character in "I1L" for character in characters[:_MAX_SEPARATORS]
    )
    if unknown <= 1 or not limit:
        # one stray letter is noise; more may have been a word
        return _Tail(0.4 * letters if unknown > 0 else 0.0, 0, (), unknown <= 1)
    best = _Tail(0.5 * letters, 0, (), False)
    for skipped in range(_MAX_SEPARATORS + 1):
        if not set(characters[:skipped]) <= _SEPARATORS:
            break
        for step in _caveats_at(characters[skipped:], limit):
            if _total_cost(step) < _total_cost(best):
                best = step
    return best


def _total_cost(tail: _Tail) -> float:
    return tail.cost + (0.5 if not tail.is_clear else 0.0) - 0.3 * tail.length


def _caveats_at(characters: str, limit: int) -> Iterator[_Tail]:
    for word, name in _CAVEATS.items():
        for end, cost, right in _prefix_costs(characters, word):
            if cost > _MAX_WRONG_SHARE * len(word) or right < min(
                _MIN_LETTERS, len(word)
            ):
                continue
            if name == "REL":  # the country list cannot be guessed
                yield _Tail(cost, len(word), (name,), False)
                continue
            rest = _tail(characters[end:], limit - 1)
            yield _Tail(
                cost + rest.cost,
                len(word) + rest.length,
                (name, *rest.caveats),
                rest.is_clear,
            )


def _prefix_costs(characters: str, word: str) -> Iterator[tuple[int, float, int]]:
    """Yield alignments of a word with a prefix of a line: (end, cost, correct letters).

    Columns of an edit distance; characters before the word cost as much as other extra
    characters.
    """
    column = [(at * _MISSING_COST, 0) for at in range(len(word) + 1)]
    yield 0, *column[-1]
    for end, character in enumerate(characters, start=1):
        price = _EXTRA_COST if character.isalnum() else _SPECK_COST
        new = [(column[0][0] + price, 0)]
        for at, letter in enumerate(word, start=1):
            same, right = column[at - 1]
            options = (
                (
                    same + _substitution_cost(character, letter),
                    right + (character == letter),
                ),
                (new[at - 1][0] + _missing_cost(letter), new[at - 1][1]),
                (column[at][0] + price, column[at][1]),
            )
            new.append(min(options, key=lambda option: (option[0], -option[1])))
        column = new
        yield end, *column[-1]


def distance(characters: str, word: str) -> float:
    """Return the weighted number of wrong letters; look-alikes count less."""
    return list(_prefix_costs(characters, word))[-1][1]


def fuzzy_caveats(text: str) -> tuple[str, ...]:
    """Return the caveats that a text without a level resembles: "N0FORM/ORC0N"."""
    characters = "".join(normal(text).upper().split())[:_MAX_LENGTH]
    tail = _tail(characters, _MAX_CAVEATS) if characters else None
    return tail.caveats if tail else ()


def _missing_cost(letter: str) -> float:
    return _MISSING_COST if letter.isalnum() else _SPECK_COST


def _substitution_cost(character: str, letter: str) -> float:
    if character == letter:
        return 0.0
    if (character, letter) in _SIMILAR:
        return _SIMILAR_COST
    return _WRONG_COST if character.isalnum() else _MISSING_COST
