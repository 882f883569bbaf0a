"""Labels that announce a marking: "Classification:", "CAVEATS -", "Handling ....".

A label is searched in the characters of a cell without spaces, so that "C A V E A T S:"
and "OVERALLCLASSIFICATION:" match. The firmness of a label determines how an unknown
value is handled: after "Security classification" it needs review, after "Terms" only if
other labels of markings are nearby.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from workflows.definitions.markings.cells import Cell
from workflows.definitions.markings.fuzzy_match import distance, fuzzy_matches

Subject = Literal["level", "caveats", "release"]
LabelPosition = Literal["start", "after", "qualified", "inline"]


class Firmness(enum.IntEnum):
    """How specific a label is to markings."""

    VAGUE = 0  # "Distribution", "Level"
    LOOSE = 1  # "Handling", "Terms"
    PLAIN = 2  # "Classification", "Caveats"
    FIRM = 3  # "Security classification", "Dissemination controls"


class Separator(enum.IntEnum):
    """The separator between a label and its value."""

    NONE = 0
    WEAK = 1  # a dash, a full stop, a wide gap
    STRONG = 2  # a colon, an equals sign, dotted leaders, a rule


@dataclass(frozen=True, slots=True)
class Label:
    """A label within a cell."""

    name: str  # in capitals without spaces
    subject: Subject
    firmness: Firmness
    position: LabelPosition
    separator: Separator
    start: int  # index of its first character in the cell
    end: int  # index after its last character
    value: int  # start of the value, after the separator


_QUALIFIERS = (
    "(?:OVERALL|SECURITY|DOCUMENT|PAGE|INFORMATION|DATA|HIGHEST|TOTAL|MESSAGE|FILE|"
    "REPORT|NATIONAL|MAXIMUM|SUBJECT|TITLE)"
)
_PATTERNS: tuple[tuple[str, Subject, Firmness], ...] = (
    (
        (
            f"{_QUALIFIERS}+(?:CLASSIFICATION|MARKING|GRADING)S?(?:LEVEL)?"
            f"|{_QUALIFIERS}*CLASSIFICATION(?:LEVEL|MARKING|GRADE|CATEGORY|STATUS)S?"
            "|LEVELOFCLASSIFICATION"
            f"|{_QUALIFIERS}*CLASSIFICATIONOF(?:THIS|THE)?"
            "(?:DOCUMENT|PAGE|FILE|REPORT|MESSAGE|CONTENTS?|ATTACHMENTS?)"
            "|PROTECTIVEMARKINGS?|SECURITYLEVEL|SENSITIVITYLEVEL|SECRECY(?:LEVEL)?"
        ),
        "level",
        Firmness.FIRM,
    ),
    (
        (
            "(?:HANDLING|SECURITY|DISSEMINATION|DISSEM|CONTROL|NATIONAL|SPECIAL)CAVEATS?"
            "|(?:DISSEMINATION|DISSEM|DISTRIBUTION)"
            "(?:CONTROL|RESTRICTION|LIMITATION|LIMIT|MARKING|TERM)S?"
            "|(?:SPECIAL)?HANDLING"
            "(?:INSTRUCTION|RESTRICTION|CONTROL|MARKING|REQUIREMENT|TERM)S?"
            "|SPECIALHANDLING|(?:DISSEMINATION)?CONTROLMARKINGS?|(?:SCI)?CONTROLSYSTEMS?"
            "|COMPARTMENTS?|CODEWORDS?|CAVEATMARKINGS?|EYESONLY"
            "|WARNING(?:TERM|NOTICE)S?|SPECIALACCESS(?:PROGRAM(?:ME)?S?)?|NEEDTOKNOW"
        ),
        "caveats",
        Firmness.FIRM,
    ),
    (
        (
            "RELEASABILITY|RELEAS(?:E)?ABLETO|FOREIGN(?:DISCLOSURE|RELEASE)|RELTO"
            "|RELEASABILITY(?:CAVEAT|MARKING|RESTRICTION|TERM|STATEMENT)S?"
        ),
        "release",
        Firmness.FIRM,
    ),
    ("CLASSIFICATIONS?|CLASSIFIED(?:AS)?|CLASSIF|CLASSN", "level", Firmness.PLAIN),
    ("CAVEATS?|DISSEMINATION|DISSEM", "caveats", Firmness.PLAIN),
    ("SENSITIVITY|MARKINGS?", "level", Firmness.LOOSE),
    ("SAP|ACCM|SCI|SAR|DISTRIBUTIONSTATEMENT", "caveats", Firmness.LOOSE),
    ("HANDLING|TERMS?|RESTRICTIONS?|CONTROLS?", "caveats", Firmness.LOOSE),
    ("LEVEL|CLASS|GRADING|GRADE", "level", Firmness.VAGUE),
    ("DISTRIBUTION|RELEASE|ACCESS|SHARING|CIRCULATION", "caveats", Firmness.VAGUE),
)
_ONE = [
    (re.compile(rf"(?:{pattern})(?:\(S\))?"), subject, firmness)
    for pattern, subject, firmness in _PATTERNS
]
_ANY = re.compile("(?=" + "|".join(pattern for pattern, _, _ in _PATTERNS) + ")")
_JOINT = re.compile(r"(?:AND|[/&,+])(?=[A-Z])")  # "CLASSIFICATION/CAVEATS:"
_STRONG = re.compile(
    r"(?:\((?:OVERALL|IFANY|LEVEL|HIGHEST|OPTIONAL|REQUIRED|ASAPPLICABLE|OFTHISDOCUMENT"
    r"|ANDCAVEATS|CAVEATS)\))?"
    r"[^A-Z0-9]*?(?:[:=|>\u2192\u2026_]|\.{2,}|-{2,})[:=|>\u2192\u2026_.*-]*"
)
_VERB = re.compile(r"IS|ARE")  # "The classification is SECRET"
_WEAK = re.compile(r"[-.;,~*]+")
_NUMBERING = re.compile(r"\W*(?:\(?[0-9A-Z]{1,2}[.)])?(?:\([A-Z/-]{1,16}\))?\W*")
_MAX_NUMBERING = 24  # characters before a label: "1. (S//NF)"
_MAX_QUALIFIERS = 3  # words before a label that may belong to it
_ROOTS = re.compile(
    "CLASS|CAVEAT|DISSEM|HANDLING|RELEAS|RELTO|TERM|MARKING|SENSITIV|RESTRICTION|SAP|ACCM|SCI|SAR|EYES|WARNING|NEEDTO"
    "|CONTROL|COMPARTMENT|CODEWORD|SECRECY|SECURITY|FOREIGN|LEVEL|GRAD|DISTRIBUTION"
    "|ACCESS|SHARING|CIRCULATION"
)


def may_hold_labels(text: str) -> bool:
    """Quick check whether a text may contain a correctly spelled label."""
    return _ROOTS.search(re.sub(r"[^A-Z]", "", text.upper())) is not None


def labels_in(cell: Cell) -> list[Label]:
    """Return the non-overlapping labels of a cell from the left."""
    if not _ROOTS.search(cell.characters):
        return []
    found: list[Label] = []
    for match in _ANY.finditer(cell.characters):
        at, free_from = match.start(), found[-1].end if found else 0
        if at < free_from or not _begins_word(cell, at):
            continue
        label = _label_at(cell, at, found)
        if label is not None:
            found.append(label)
    return found


def _begins_word(cell: Cell, at: int) -> bool:
    """Whether a word begins here; also handles "**Caveats:**"."""
    if cell.is_word_start(at) or not cell.characters[at - 1].isalnum():
        return cell.characters[at].isalnum()
    before, here = cell.written[at - 1 : at + 1]
    following = "".join(cell.written[at + 1 : at + 2])
    if here.isupper():  # "NoneCaveats:", "NONECaveats:"
        return before.islower() or (before.isupper() and following.islower())
    return here.islower() and "".join(cell.written[max(at - 2, 0) : at]).isupper()


def _label_at(cell: Cell, at: int, found: list[Label]) -> Label | None:
    named = _named_at(cell.characters, at)
    if named is None:
        return None
    end, subject, firmness = named
    if cell.characters[end - 1] == "S" and _begins_word(cell, end - 1):
        end -= 1  # "CLASSIFICATION SECRET" has no plural
    strong = _STRONG.match(cell.characters, end) or _verb_at(cell, end)
    weak = _WEAK.match(cell.characters, end)
    separator = Separator.NONE
    if strong or weak:
        separator = Separator.STRONG if strong else Separator.WEAK
    between = strong or weak
    position = _position(cell, at, found)
    required = Separator.STRONG
    if position == "start":
        required = Separator.NONE
    elif found:  # "CLASSIFICATION - SECRET CAVEATS - NOFORN"
        required = max(found[-1].separator, Separator.WEAK)
    is_rule = strong is not None and set(strong[0]) <= set("|>_-\u2192\u2026*")
    if separator < required or (is_rule and position != "start"):
        return None  # not a label: "LIMITED DISTRIBUTION | Date: ..."
    name, value = cell.characters[at:end], between.end() if between else end
    if name == "RELTO" and separator < Separator.STRONG:
        return None  # a separate caveat
    return Label(name, subject, firmness, position, separator, at, end, value)


def _verb_at(cell: Cell, at: int) -> re.Match[str] | None:
    """Return the verb after a label, if it is a separate word."""
    found = _VERB.match(cell.characters, at)
    if found is None or found.end() == len(cell.characters):
        return None
    is_word = cell.is_word_start(at) and cell.is_word_start(found.end())
    return found if is_word else None


def _named_at(characters: str, at: int) -> tuple[int, Subject, Firmness] | None:
    """Return the end, subject and firmness of the longest label that starts here."""
    best = _longest(characters, at)
    while best is not None:
        joint = _JOINT.match(characters, best[0])
        other = _longest(characters, joint.end()) if joint else None
        if other is None:
            return best
        best = other[0], best[1], max(best[2], other[2])
    return None


def _longest(characters: str, at: int) -> tuple[int, Subject, Firmness] | None:
    ends = [
        (match.end(), subject, firmness)
        for pattern, subject, firmness in _ONE
        if (match := pattern.match(characters, at))
    ]
    return max(ends, key=lambda end: end[0]) if ends else None


def _position(cell: Cell, at: int, found: list[Label]) -> LabelPosition:
    """Return the position of a label within its cell."""
    before = cell.characters[:at]
    if len(before) <= _MAX_NUMBERING and _NUMBERING.fullmatch(before):
        return "start"
    if found or before[-1] in ";|,/" or ":" in before:
        return "after"
    words = cell.text(0, at).split()
    is_name = len(words) <= _MAX_QUALIFIERS and words[0][0].isupper()
    return "qualified" if is_name and before.isalnum() else "inline"


# Spelling ----------------------------------------------------------------------------

_LABEL_VOCABULARY = (
    "CLASSIFICATION",
    "CAVEATS",
    "CAVEAT",
    "DISSEMINATION",
    "HANDLING",
    "RELEASABILITY",
    "RELEASABLE",
    "INSTRUCTIONS",
    "CONTROLS",
    "RESTRICTIONS",
    "MARKING",
    "MARKINGS",
    "TERMS",
    "OVERALL",
    "SECURITY",
    "DOCUMENT",
    "SENSITIVITY",
    "COMPARTMENTS",
    "DISTRIBUTION",
)
_VALUE = re.compile(r"[:=]|\.{2,}")  # text after this is not a label
_LETTERS = re.compile(r"[A-Z0-9|!$]{4,18}")
_MAX_WRONG_SHARE = 0.2  # share of letters
_MAX_CORRECTED_WORDS = 4  # only the first words of a cell are corrected


def correct_spelling(cell: Cell) -> Cell:
    """Return the cell with label words spelled correctly: "CLASSIF1CATI0N", "CAVEAT5".

    A misread label must not hide its value. Only the first words of a cell are corrected;
    the words of the page are unchanged.
    """
    characters, written, owners = (
        list(cell.characters),
        list(cell.written),
        list(cell.owners),
    )
    if not cell.characters:
        return cell
    first = _VALUE.search(cell.characters)
    last = cell.owners[first.start() if first else -1] + 1
    for owner in range(min(_MAX_CORRECTED_WORDS, last) - 1, -1, -1):
        start = cell.owners.index(owner) if owner in cell.owners else -1
        found = _LETTERS.match(cell.characters, start) if start >= 0 else None
        if found is None or cell.owners[found.end() - 1] != owner:
            continue
        right = _correct_word(found[0])
        if right != found[0]:
            characters[start : found.end()] = right
            written[start : found.end()] = right
            owners[start : found.end()] = [owner] * len(right)
    if (
        len(characters) == len(cell.characters)
        and "".join(characters) == cell.characters
    ):
        return cell
    return replace(
        cell,
        characters="".join(characters),
        written=tuple(written),
        owners=tuple(owners),
    )


def _correct_word(word: str) -> str:
    """Return the label word closest to a word, or the word itself."""
    return _closest(word) if any(_similar_length(word)) else word


@functools.lru_cache(maxsize=4096)  # of words as long as labels: others can be long
def _closest(word: str) -> str:
    value_cost = max(
        (1 - match.score for match in fuzzy_matches(word)[:1]), default=_MAX_WRONG_SHARE
    )
    best, cost = (
        word,
        min(_MAX_WRONG_SHARE, value_cost),
    )  # do not correct values such as "UNCLASSIFIED"
    for known in _similar_length(word):
        share = distance(word, known) / len(known)
        if share < cost:
            best, cost = known, share
    return best


def _similar_length(word: str) -> Iterator[str]:
    for known in _LABEL_VOCABULARY:
        if abs(len(known) - len(word)) <= 2:  # noqa: PLR2004 - letters lost or added
            yield known
