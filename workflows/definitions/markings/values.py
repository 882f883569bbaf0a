"""The value after a label: a level, caveats, NONE, blank or unknown."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workflows.definitions.markings import grammar
from workflows.definitions.markings.finding import highest
from workflows.definitions.markings.fuzzy_match import fuzzy_caveats, fuzzy_matches
from workflows.definitions.markings.labels import Subject
from workflows.definitions.markings.levels import COMMON_WORD_LEVELS, Level, in_order

_NONE = re.compile(
    r"(?:NONE|NIL|N/?A|NOTAPPLICABLE|NOCAVEATS?|NORESTRICTIONS?|NONE(?:APPLY|APPLICABLE))"
)
_PLACEHOLDER = re.compile("X{1,3}")  # placeholder in a form
_COUNTRY_LIST = re.compile(
    r"(?:TO)?(?:(?:[A-Z]{3}|FVEY|ACGU|NATO|EU|UK|US)(?:[,/&;]|AND|$))+"
)
_RELEASE_LIST = re.compile(r"(?<!NOT )\bREL(?:EASABLE)?\s+TO\b([^/;|]*)", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]{3,4}|EU|UK|US")
_LEVELS = (
    (re.compile(r"TOP[\s-]*SECRET"), Level.TOP_SECRET),
    (re.compile(r"SECRET"), Level.SECRET),
    (
        re.compile(r"(?:STRICTLY|HIGHLY|MOST)\s+CONFIDENTIAL"),
        Level.STRICTLY_CONFIDENTIAL,
    ),
    (re.compile(r"CONFIDENTIAL"), Level.CONFIDENTIAL),
    (re.compile(r"RESTRICTED"), Level.RESTRICTED),
    (re.compile(r"OFFICIAL[\s-]*SENSITIVE"), Level.OFFICIAL_SENSITIVE),
    (re.compile(r"OFFICIAL"), Level.OFFICIAL),
    (re.compile(r"CUI|CONTROLLED"), Level.CUI),
    (re.compile(r"INTERNAL"), Level.INTERNAL),
    (re.compile(r"UNCLASSIFIED"), Level.UNCLASSIFIED),
    (re.compile(r"PUBLIC"), Level.PUBLIC),
)
_PARTS = re.compile(r"[,;/|&+]+|\band\b", re.IGNORECASE)
_UNKNOWN = re.compile(r"[A-Z0-9][A-Z0-9-]{1,23}")
OTHER_FIELDS = (
    r"date|from|to|subject|ref(?:erence)?|copy(?: (?:no|number)\.?)?|page|originator|author"
    r"|title|precedence|priority|owner|version|status|reason|derived from|classified by"
    r"|declassify on|downgrade to|review on|(?:file|serial) no\.?|no\.?|to|via|info|dtg"
)
_OTHER_FIELD = re.compile(rf"[\s;|,]+(?=(?:{OTHER_FIELDS})\s*[:=])", re.IGNORECASE)
_REFERRAL = re.compile(r"(?:see|refer|as|per|cf|vide)\b", re.IGNORECASE)
_MAX_BRIEF_WORDS = 7  # words
_MIN_PROSE_WORDS = 4  # minimum number of words in a sentence
_MARKING_VOCABULARY = re.compile(
    r"foreign|national|releas|distribut|disclos|disseminat|copie|copy|authori[sz]|eyes"
    r"|personnel|clear(?:ed|ance)|need.to.know|government|contractor|\bsee\b|\brefer"
    r"|\bmark(?:ed|ing)|protect|handl|recipient|addressee|\bonly\b|(?:must|shall|may)\s+not|secre|classif|confiden|restrict|sensitiv",
    re.IGNORECASE,
)
_MAX_LENGTH = 400  # characters that are evaluated
_MIN_MATCH_SCORE = 0.75  # minimum score of a fuzzy match for misspelt values


@dataclass(frozen=True, slots=True)
class Value:
    """The meaning of a value; if it is not understood, what could be recognized."""

    text: str
    level: Level | None = None
    caveats: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # single words in capitals, such as codewords
    is_none: bool = False  # states that there are none
    is_blank: bool = False
    is_understood: bool = False

    @property
    def has_marking(self) -> bool:
        """Whether it names a level or caveats, at least in part."""
        return self.level is not None or bool(self.caveats)

    @property
    def is_common_word(self) -> bool:
        """Whether it names only a level whose word is common in other contexts."""
        return self.level in COMMON_WORD_LEVELS and not self.caveats

    @property
    def is_capital(self) -> bool:
        """Whether it is in capitals without digits."""
        return self.text.isupper() and not any(sign.isdigit() for sign in self.text)

    @property
    def is_brief(self) -> bool:
        """Whether it is shorter than a line of running text."""
        return len(self.text.split()) <= _MAX_BRIEF_WORDS

    @property
    def is_referral(self) -> bool:
        """Whether it refers to another place: "see covering letter"."""
        return _REFERRAL.match(self.text) is not None

    @property
    def is_prose(self) -> bool:
        """Whether it starts a sentence that names no marking."""
        words = [word for word in self.text.split() if word[0].isalpha()]
        lower = sum(word[0].islower() for word in words)
        is_sentence = len(words) >= _MIN_PROSE_WORDS and lower * 2 >= len(words)
        is_running = not self.is_brief or self.text[:1].islower()
        return is_sentence and is_running and not self.mentions_markings

    @property
    def mentions_markings(self) -> bool:
        """Whether it mentions a marking or a distribution restriction."""
        return self.has_marking or _MARKING_VOCABULARY.search(self.text) is not None


def value_of(text: str, subject: Subject) -> Value:
    """Return the value of a text after a label about that subject."""
    other = _OTHER_FIELD.search(text)  # "NOFORN Date: 12 May"
    text = text[: other.start()] if other else text
    core = grammar.without_furniture(grammar.normal(text[:_MAX_LENGTH])).strip(
        " ;|,/-_.\u2026*"
    )
    characters = re.sub(r"[^A-Z0-9/]", "", core.upper()).strip("/")
    if not characters or _PLACEHOLDER.fullmatch(characters):
        return Value(text, is_blank=True)
    if _NONE.fullmatch(characters):
        return Value(text, is_none=True, is_understood=True)
    exact = _exact(text, core, subject) if len(text) <= _MAX_LENGTH else None
    return exact or _partial(text, core, subject)


def _exact(text: str, core: str, subject: Subject) -> Value | None:
    """Return the value if the whole text is a marking."""
    if subject == "release" and _COUNTRY_LIST.fullmatch(_compact(core)):
        core = f"REL TO {re.sub(r'^TO ', '', core.upper())}"
    caveats = _caveats(core)
    marking = grammar.banner(core)
    if marking is None and core.isupper():
        marking = grammar.portion(core)
    has_level = marking is not None and marking.level is not None
    if caveats is not None and not (subject == "level" and has_level):
        is_whole = _names_countries_only(core)
        return Value(text, None, caveats, is_understood=is_whole)
    if marking is None or not has_level or (subject == "release" and not caveats):
        return None
    is_whole = _names_countries_only(core)
    return Value(text, marking.level, marking.caveats, is_understood=is_whole)


def _compact(core: str) -> str:
    return "".join(core.upper().split())


def _caveats(core: str) -> tuple[str, ...] | None:
    """Return the caveats that a list consists of, for any separator."""
    for text in (core, re.sub(r"[\s+;|]+", "/", core)):
        found = grammar.caveats_of(text)
        if found is not None and any(found):
            return found
    return None


def _names_countries_only(core: str) -> bool:
    """Whether REL TO is followed by country codes only: "GREAT BRITAIN" is not one."""
    lists = _RELEASE_LIST.findall(core.upper())
    names = [name.strip() for one in lists for name in re.split(r"[,&]+|\bAND\b", one)]
    return all(
        grammar.caveats_of(name) is not None
        or all(
            _CODE.fullmatch(word) or grammar.caveats_of(word) is not None
            for word in name.split()
        )
        for name in names
    )


def _partial(text: str, core: str, subject: Subject) -> Value:
    """Return what can be recognized in a value that is not understood as a whole."""
    caveats: list[str] = []
    unknown: list[str] = []
    for part in (part.strip() for part in _PARTS.split(core)):
        words = part.split()
        found = _caveats(part) or [c for word in words for c in _caveats(word) or ()]
        caveats += found
        if not found and _UNKNOWN.fullmatch(part) and _named_level(part) is None:
            unknown.append(part)
    level = _named_level(core)
    for match in fuzzy_matches(core)[:1]:
        if match.score >= _MIN_MATCH_SCORE:
            level = highest((level, match.level))
            caveats += match.caveats
    if level is None and core.isupper():
        caveats += fuzzy_caveats(core)
    if subject == "level" and level is None:
        unknown = []
    return Value(text, level, in_order(caveats), tuple(unknown))


def _named_level(text: str) -> Level | None:
    capitals = text.upper()
    return highest(
        level
        for pattern, level in _LEVELS
        if re.search(rf"(?<![A-Z-])(?:{pattern.pattern})(?![A-Z])", capitals)
    )
