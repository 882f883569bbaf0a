"""Portion marks: (S//NF) before a paragraph, (U) after a title."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from workflows.definitions.markings import grammar
from workflows.definitions.markings.finding import Finding
from workflows.definitions.markings.grammar import Marking
from workflows.definitions.markings.segments import Segment

_IN_BRACKETS = re.compile(  # OCR may lose spaces: "1.(S//NF)The boat"
    r"(?:(?<!\S)|(?<=\d[.)]))[(\[]\s*([A-Za-z][A-Za-z0-9 ,/&-]{0,60}?)\s*[)\]]"
    r"(?=[\s.:,]|$|[A-Z](?:[a-z]|\s))"
)
_NUMBERING = re.compile(
    r"^\W*(?:(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)]\s*){0,4}\W*$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?:;]\s*$")
_ENUMERATION = re.compile(r"^\W*\((?:A|B|D|E|F)\)(?=\s|$)")  # so (C) counts, not marks
_COPYRIGHT = re.compile(r"^\s*(?:\d{4}|copyright|all rights)", re.IGNORECASE)

_SPELLED_OUT = 0.8  # with caveats: unambiguous
_ONE_OF_SEVERAL, _ONLY_ONE = 0.6, 0.4
_MAX_TITLE_WORDS = 16  # words of a line that a mark may follow


def portions(page: int, segments: Sequence[Segment]) -> Iterator[Finding]:
    """Yield the portion marks of the page."""
    counts_up = any(_ENUMERATION.match(segment.text) for segment in segments)
    marks = [
        (segment, found, marking)
        for segment in segments
        for found, marking in _marks(segment.text, single_letters=not counts_up)
    ]
    for segment, found, marking in marks:
        yield Finding(
            page=page,
            kind="portion",
            text=found[0],
            level=marking.level,
            caveats=marking.caveats,
            weight=_weight(marking, len(marks)),
            box=segment.box_of(found.start(), found.end()),
        )


def _marks(
    text: str, *, single_letters: bool
) -> Iterator[tuple[re.Match[str], Marking]]:
    for found in _IN_BRACKETS.finditer(text):
        inner = found[1]
        is_spelled_out = "//" in inner
        if not is_spelled_out and not _may_be_mark(text, found, single_letters):
            continue
        marking = grammar.portion(inner)
        if marking is not None:
            yield found, marking


def _may_be_mark(text: str, found: re.Match[str], single_letters: bool) -> bool:
    """Whether brackets are at the position of a mark, unlike (a), (C) 2024 or (R)."""
    inner, before, after = found[1], text[: found.start()], text[found.end() :]
    if not inner.isupper() or _COPYRIGHT.match(after):
        return False
    if len(inner) == 1 and not single_letters:
        return False
    opens = _NUMBERING.match(before) or _SENTENCE_END.search(before)
    closes_title = not after.strip() and len(text.split()) <= _MAX_TITLE_WORDS
    return bool(opens or closes_title)


def _weight(marking: Marking, marks: int) -> float:
    if marking.caveats:
        return _SPELLED_OUT
    return _ONE_OF_SEVERAL if marks > 1 else _ONLY_ONE
