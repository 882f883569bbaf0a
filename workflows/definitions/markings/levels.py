"""Levels of markings: their names, written forms and order.

One table covers government and alliance markings and those of companies. In a document
that mixes them, the order of the table decides which marking is higher:

    | level                 | written as                                 | portion  |
    | --------------------- | ------------------------------------------ | -------- |
    | PUBLIC                | Public, for public release                 |          |
    | UNCLASSIFIED          | Unclassified, NATO Unclassified            | (U) (NU) |
    | INTERNAL              | Internal, (for) internal use only          |          |
    | OFFICIAL              | Official (UK)                              | (O)      |
    | CUI                   | CUI, controlled unclassified information,  | (CUI)    |
    |                       | for official use only (FOUO), SBU          | (FOUO)   |
    | OFFICIAL-SENSITIVE    | Official-Sensitive (UK)                    | (O-S)    |
    | RESTRICTED            | Restricted, NATO and EU Restricted         | (R) (NR) |
    | CONFIDENTIAL          | Confidential, in confidence                | (C) (NC) |
    | STRICTLY CONFIDENTIAL | Strictly or highly confidential            |          |
    | SECRET                | Secret, NATO, UK and EU Secret             | (S) (NS) |
    | TOP SECRET            | Top Secret, Cosmic Top Secret              | (TS)     |

Patterns match capitals without spaces, because the letters of a marking may be spread,
broken or joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Classification levels, from the lowest to the highest."""

    PUBLIC = "PUBLIC"
    UNCLASSIFIED = "UNCLASSIFIED"
    INTERNAL = "INTERNAL"
    OFFICIAL = "OFFICIAL"
    CUI = "CUI"
    OFFICIAL_SENSITIVE = "OFFICIAL-SENSITIVE"
    RESTRICTED = "RESTRICTED"
    CONFIDENTIAL = "CONFIDENTIAL"
    STRICTLY_CONFIDENTIAL = "STRICTLY CONFIDENTIAL"
    SECRET = "SECRET"  # noqa: S105 - the marking, not a password
    TOP_SECRET = "TOP SECRET"  # noqa: S105 - likewise

    @property
    def rank(self) -> int:
        """Return the position in the order, 0 for the lowest."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}

COMMON_WORD_LEVELS = frozenset(
    {
        Level.PUBLIC,
        Level.INTERNAL,
        Level.OFFICIAL,
        Level.RESTRICTED,
        Level.CUI,
    }
)
"""Levels whose words are common in titles ("Public Health"): valid only when separate."""


@dataclass(frozen=True, slots=True)
class Form:
    """A written form of a level, with an optional caveat."""

    pattern: str  # regular expression over capitals without spaces
    level: Level
    caveat: str = ""


# Longer forms precede shorter ones with the same beginning.
BANNERS = (
    Form("(?:COSMIC|NATO|UK|EU|US)?TOPSECRET", Level.TOP_SECRET),
    Form("(?:NATO|UK|EU|US)?SECRET", Level.SECRET),
    Form("(?:STRICTLY|HIGHLY|MOST)CONFIDENTIAL", Level.STRICTLY_CONFIDENTIAL),
    Form("(?:PROPRIETARYAND|PROPRIETARY&)CONFIDENTIAL", Level.CONFIDENTIAL),
    Form("CONFIDENTIAL(?:AND|&)PROPRIETARY", Level.CONFIDENTIAL),
    Form("(?:COMMERCIAL|COMMITTEE|STAFF|MEDICAL)?-?INCONFIDENCE", Level.CONFIDENTIAL),
    Form(
        "(?:NATO|UK|EU|US|COMPANY|COMMERCIAL|BUSINESS|PRIVATEAND|PRIVATE&"
        "|PERSONALAND|PERSONAL&)?CONFIDENTIAL",
        Level.CONFIDENTIAL,
    ),
    Form("(?:NATO|UK|EU)?RESTRICTED(?!DATA)", Level.RESTRICTED),
    Form("OFFICIAL[-:/]*SENSITIVE", Level.OFFICIAL_SENSITIVE),
    Form("CONTROLLEDUNCLASSIFIEDINFORMATION", Level.CUI),
    Form("SENSITIVEBUTUNCLASSIFIED", Level.CUI, "SBU"),
    Form("(?:FOR)?OFFICIALUSEONLY", Level.CUI, "FOUO"),
    Form("FOUO", Level.CUI, "FOUO"),
    Form("SBU", Level.CUI, "SBU"),
    Form("CUI", Level.CUI),
    Form("CONTROLLED(?=$|/)", Level.CUI),
    Form("UKOFFICIAL|OFFICIAL", Level.OFFICIAL),
    Form("(?:FOR)?(?:COMPANY)?INTERNALUSEONLY", Level.INTERNAL),
    Form("(?:COMPANY)?INTERNAL(?:ONLY)?", Level.INTERNAL),
    Form("(?:NATO|US)?UNCLASSIFIED", Level.UNCLASSIFIED),
    Form("(?:APPROVED)?FORPUBLICRELEASE", Level.PUBLIC),
    Form("PUBLIC(?:RELEASE)?", Level.PUBLIC),
)

PORTIONS = (
    Form("TS", Level.TOP_SECRET),
    Form("CTS", Level.TOP_SECRET),
    Form("S", Level.SECRET),
    Form("NS", Level.SECRET),
    Form("C", Level.CONFIDENTIAL),
    Form("NC", Level.CONFIDENTIAL),
    Form("R", Level.RESTRICTED),
    Form("NR", Level.RESTRICTED),
    Form("O-S", Level.OFFICIAL_SENSITIVE),
    Form("OS", Level.OFFICIAL_SENSITIVE),
    Form("CUI", Level.CUI),
    Form("FOUO", Level.CUI, "FOUO"),
    Form("O", Level.OFFICIAL),
    Form("U", Level.UNCLASSIFIED),
    Form("NU", Level.UNCLASSIFIED),
)


@dataclass(frozen=True, slots=True)
class Caveat:
    """An addition to a level: distribution or handling."""

    name: str
    phrase: str = ""  # pattern that is valid anywhere after the level
    abbreviation: str = (
        ""  # abbreviations, which stand for it only after a slash or comma
    )


CAVEATS = (  # in the order of banners
    Caveat("HCS", "HUMINTCONTROL", "HCS(?:-[OP])?"),
    Caveat("SI", "COMINT", "SI(?:-[A-Z]{1,3})?"),
    Caveat("TK", "TALENTKEYHOLE", "TK"),
    Caveat("FRD", "FORMERLYRESTRICTEDDATA", "FRD"),
    Caveat("RD", "RESTRICTEDDATA", "RD"),
    Caveat("CNWDI", "CNWDI"),
    Caveat("ATOMAL", "ATOMAL"),
    Caveat("CRYPTO", "CRYPTO"),
    Caveat("SPECAT", "SPECAT"),
    Caveat("SBU"),
    Caveat("LES", "LAWENFORCEMENTSENSITIVE", "LES"),
    Caveat("FOUO", "(?:FOR)?OFFICIALUSEONLY|FOUO"),
    Caveat("FISA", "FISA"),
    Caveat("WNINTEL", "WNINTEL"),
    Caveat("ORCON", "ORCON(?:-USGOV)?", "OC"),
    Caveat("IMCON", "IMCON", "IMC"),
    Caveat("NOFORN", "NOFORN|NOTRELEASABLETOFOREIGN(?:NATIONALS|ERS)", "NF"),
    Caveat("PROPIN", "PROPIN", "PR"),
    Caveat("REL"),
    Caveat("RELIDO", "RELIDO"),
    Caveat("NOCONTRACT", "NOCONTRACT|NOCON(?!F)"),
    Caveat("FEDCON", "FEDCON"),
    Caveat("LIMDIS", "LIMDIS|LIMITEDDIS(?:TRIBUTION|SEMINATION)", "DS"),
    Caveat("EXDIS", "EXDIS|EXCLUSIVEDISTRIBUTION", "XD"),
    Caveat("NODIS", "NODIS(?:TRIBUTION)?", "ND"),
    Caveat("PERSONAL", "PERSONAL"),
    Caveat("COMMERCIAL", "COMMERCIAL"),
    Caveat("PROPRIETARY", "PROPRIETARY(?:INFORMATION)?"),
    Caveat("PRIVILEGED", "(?:LEGALLY|ATTORNEY-CLIENT)?PRIVILEGED"),
    Caveat("INTERNAL USE ONLY", "(?:FOR)?INTERNALUSEONLY"),
    Caveat("DO NOT DISTRIBUTE", "DONOTDISTRIBUTE|NOTFORDISTRIBUTION"),
    Caveat("DO NOT COPY", "DONOTCOPY"),
)
UNCLASSIFIED_ONLY = frozenset({"FOUO", "SBU", "LES"})
"""Caveats of unclassified parts, not inherited by a classified document."""

_CAVEAT_ORDER = {caveat.name: rank for rank, caveat in enumerate(CAVEATS)}


_NAMED = re.compile(r"REL TO [A-Z, ]+|(?:[A-Z/&,]+ )?EYES ONLY|SP-[A-Z]+|SI-[A-Z]+")


def rank_of(level: Level | None) -> int:
    """Return the rank of a level, -1 without one."""
    return level.rank if level else -1


def is_known(caveat: str) -> bool:
    """Whether a caveat is in the table or has a known form."""
    return caveat in _CAVEAT_ORDER or _NAMED.fullmatch(caveat) is not None


def in_order(caveats: Iterable[str]) -> tuple[str, ...]:
    """Return the unique caveats in banner order; unknown ones last."""

    def rank(caveat: str) -> tuple[int, str]:
        name = "REL" if caveat.startswith("REL TO ") else caveat
        return _CAVEAT_ORDER.get(name, len(_CAVEAT_ORDER)), caveat

    return tuple(sorted(set(caveats), key=rank))
