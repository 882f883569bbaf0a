"""The grammar of markings: whether a text is a marking, and its level and caveats.

A marking is a level with its caveats and nothing else: "SECRET//NOFORN",
"T O P  S E C R E T", "Company Confidential". "the secret" and "Secretary" are not.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from workflows.definitions.markings.levels import (
    BANNERS,
    CAVEATS,
    PORTIONS,
    Form,
    Level,
    in_order,
)


@dataclass(frozen=True, slots=True)
class Marking:
    """A level with its caveats; without a level, caveats only."""

    level: Level | None
    caveats: tuple[str, ...] = ()


def normal(text: str) -> str:
    """Return the text with full-width and look-alike characters normalized."""
    plain = unicodedata.normalize("NFKC", text)
    return (
        re.sub("[\u2010-\u2015\u2212]", "-", plain)
        .replace("\\", "/")
        .replace("\u00a0", " ")
    )


def banner(text: str) -> Marking | None:
    """Return the marking that the whole text consists of, if any."""
    compact = _compact(text)
    return _with_level(compact, _BANNER_FORMS) or _caveats_alone(compact)


def caveats_of(text: str) -> tuple[str, ...] | None:
    """Return the caveats that the whole text consists of, None for other text."""
    marking = _caveats_alone(_compact(text))
    return None if marking is None else marking.caveats


def may_contain_marking(text: str) -> bool:
    """Quick check whether a text may contain or mention a marking."""
    return _ROOTS.search(re.sub(r"[^A-Z]", "", text.upper())) is not None


def portion(text: str) -> Marking | None:
    """Return the portion mark; `text` is the content of the brackets."""
    return _with_level(_compact(text), _PORTION_FORMS)


def without_furniture(text: str) -> str:
    """Return a normalized line without page furniture.

    Page furniture is page and copy numbers, dates, and words that announce a marking.
    """
    for pattern in _FURNITURE:
        text = pattern.sub(" ", text)
    return text.strip()


def is_announced(text: str) -> bool:
    """Whether a line announces a marking ("Classification: ...")."""
    return _ANNOUNCEMENT.match(text) is not None


_ANNOUNCEMENT = re.compile(
    r"^\W*(?:(?:overall|security|document|page|information)\s+)*"
    r"(?:class(?:ification|ified)(?:\s+level)?|(?:protective\s+)?marking|sensitivity)"
    r"\s*(?:[:=]|\bis\b|(?=\s[A-Z]{3}))\s*|^\W*this\s+(?:page|document)\s+is\s+",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_FURNITURE = (
    _ANNOUNCEMENT,
    re.compile(r"\bpage\s*[\divx]+(?:\s*(?:of|/)\s*[\divx]+)?\b", re.IGNORECASE),
    re.compile(r"\bcopy\s*(?:no\.?)?\s*\d+(?:\s*of\s*\d+)?", re.IGNORECASE),
    re.compile(r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b"),
    re.compile(rf"\b\d{{1,2}}\s+{_MONTH}\s+\d{{2,4}}\b", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}\s+\d{{1,2}},?\s+\d{{4}}\b", re.IGNORECASE),
    re.compile(r"\b\d+\s*(?:of|/)\s*\d+\b", re.IGNORECASE),
    re.compile(r"^\W*\d{1,4}(?=\s)|(?<=\s)\d{1,4}\W*$"),
    re.compile(r"\b(?:draft|final|sample)\b", re.IGNORECASE),
)

_SEPARATORS = re.compile(r"[/,;:.&()\[\]|-]*")
_UNKNOWN = re.compile(r"[A-Z0-9][A-Z0-9-]{1,23}(?=$|[/,;])")
_DECLASSIFICATION = re.compile(r"\d{8}|(?:25|50)?X\d{1,2}(?:-HUM)?|MR|OADR")
_RELEASE = re.compile(r"REL(?:EASABLE)?TO([A-Z][A-Z,&]+)|REL(?=$|/)")
_COUNTRIES = re.compile(r"FVEY|ACGU|NATO|[A-Z]{4}(?![A-Z])|[A-Z]{3}|EU(?![A-Z])")
_EYES_ONLY = re.compile(r"((?:[A-Z]{2,4}[,/&]){0,9}[A-Z]{2,4})?EYESONLY")
_CATEGORY = re.compile(r"SP-[A-Z]{2,8}")


def _compiled(forms: tuple[Form, ...]) -> list[tuple[re.Pattern[str], Form]]:
    return [(re.compile(form.pattern), form) for form in forms]


_BANNER_FORMS = _compiled(BANNERS)
_PORTION_FORMS = _compiled(PORTIONS)
_CAVEAT_PATTERNS = [(re.compile(c.phrase), c.name) for c in CAVEATS if c.phrase]
_ABBREVIATION_PATTERNS = [
    (re.compile(rf"(?:{c.abbreviation})(?![A-Z])"), c.name)
    for c in CAVEATS
    if c.abbreviation
]
_NEXT_CAVEAT = re.compile(  # end of the country list: "REL TO USA, NOFORN"
    "(?:[,&]|AND)*(?:"
    + "|".join(caveat.phrase for caveat in CAVEATS if caveat.phrase)
    + ")|(?:[,&]|AND)+(?:"
    + "|".join(caveat.abbreviation for caveat in CAVEATS if caveat.abbreviation)
    + r")(?![A-Z])"
)

_ROOTS = re.compile(  # every banner form contains one of these
    "SECRET|CONFIDEN|CLASSIF|RESTRICT|OFFICIAL|CONTROLLED|CUI|FOUO|SBU|INTERNAL|PUBLIC"
    "|GRADED|APPROVEDFORRELEASE|EYESONLY|RELTO|RELEASABLE"
    + "".join(f"|{caveat.phrase}" for caveat in CAVEATS if caveat.phrase)
)


def _compact(text: str) -> str:
    """Return the text in capitals without spaces or decoration at its ends."""
    combine_with_scan = "".join(normal(text).upper().split())
    return re.sub(r"^[^A-Z0-9]+|[^A-Z0-9]+$", "", combine_with_scan)


def _with_level(
    compact: str, forms: list[tuple[re.Pattern[str], Form]]
) -> Marking | None:
    for pattern, form in forms:
        found = pattern.match(compact)
        if found is None:
            continue
        caveats = _caveats(compact, found.end(), {form.caveat} - {""})
        if caveats is not None:
            return Marking(form.level, caveats)
    return None


def _caveats_alone(compact: str) -> Marking | None:
    caveats = _caveats(compact, 0, set()) if compact else None
    return Marking(None, caveats) if caveats else None


def _caveats(compact: str, at: int, found: set[str]) -> tuple[str, ...] | None:
    """Return the caveats from `at` to the end, None for other text."""
    while at < len(compact):
        gap = _SEPARATORS.match(compact, at)
        start = at if gap is None else gap.end()
        if start == len(compact):
            break
        separator = compact[at:start] if at else "/"
        step = _caveat(compact, start, separator)
        if step is None:
            return None
        name, at = step
        found = found | ({name} - {""})
    return in_order(found)


def _caveat(compact: str, start: int, separator: str) -> tuple[str, int] | None:
    """Return the caveat that starts here and its end."""
    for known in (_release, _eyes_only, _by_phrase):
        step = known(compact, start)
        if step is not None:
            return step
    return _by_abbreviation(compact, start, separator)


def _release(compact: str, start: int) -> tuple[str, int] | None:
    """Return the release caveat; another caveat ends the country list."""
    found = _RELEASE.match(compact, start)
    if found is None:
        return None
    end = found.end()
    other = _NEXT_CAVEAT.search(compact, found.start(1), end) if found[1] else None
    if other is not None:
        end = other.start()
    names = re.split(r"[,&]|AND", compact[found.start(1) : end] if found[1] else "")
    countries = [code for name in names for code in _COUNTRIES.findall(name)]
    return f"REL TO {', '.join(countries)}" if countries else "REL", end


def _eyes_only(compact: str, start: int) -> tuple[str, int] | None:
    found = _EYES_ONLY.match(compact, start)
    if found is None:
        return None
    return f"{found[1] or ''} EYES ONLY".strip(), found.end()


def _by_phrase(compact: str, start: int) -> tuple[str, int] | None:
    for pattern, name in _CAVEAT_PATTERNS:
        found = pattern.match(compact, start)
        if found is not None:
            return name, found.end()
    found = _CATEGORY.match(compact, start)
    return None if found is None else (found[0], found.end())


def _by_abbreviation(
    compact: str, start: int, separator: str
) -> tuple[str, int] | None:
    """Return an abbreviation, which needs a separator before it, or an unknown codeword."""
    if not set(separator) & set("/,;-"):
        return None
    for pattern, name in _ABBREVIATION_PATTERNS:
        found = pattern.match(compact, start)
        if found is not None:
            return name, found.end()
    unknown = _UNKNOWN.match(compact, start) if "//" in separator else None
    if unknown is None:
        return None
    name = "" if _DECLASSIFICATION.fullmatch(unknown[0]) else unknown[0]
    return name, unknown.end()
