"""One marking found on a page, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workflows.definitions.markings.levels import Level
from workflows.runtime.records import Box

Kind = Literal[
    "header",  # a banner at the head of the page
    "footer",  # a banner at its foot
    "stamp",  # a marking that stands alone elsewhere on the page
    "portion",  # (S//NF) before a paragraph or after a title
    "mention",  # in running text, where it says little about the page
    "condition",  # "UNCLASSIFIED when separated from Annex B": not true of this page
    "release",  # "DECLASSIFIED", "Downgraded to CONFIDENTIAL"
]

UNMARKED = "NOT MARKED"
NO_CAVEATS = "NO CAVEATS"
MAX_LINE_LENGTH = 200  # characters of a banner, and of a finding that are kept
BANNER_WEIGHT = 0.6  # a stamp of this weight marks its page as a banner does


class Finding(BaseModel):
    """One marking on one page."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    kind: Kind
    text: str  # as it stands there
    level: Level | None  # None: it only adds caveats
    caveats: tuple[str, ...] = ()
    weight: float = Field(ge=0, le=1)  # how sure it is that it marks the page
    box: Box
    times: int = 1  # how often the page says the same
    is_faint: bool = False  # letters are missing: it is what it is likeliest to be

    @property
    def is_banner(self) -> bool:
        """Tell whether it marks the page as a whole."""
        return self.kind in ("header", "footer") or (
            self.kind == "stamp" and self.weight >= BANNER_WEIGHT
        )

    @property
    def label(self) -> str:
        """Return the level with its caveats, as in SECRET//NOFORN."""
        return NO_CAVEATS if self.says_none else label_of(self.level, self.caveats)

    @property
    def says_none(self) -> bool:
        """Return whether it says that there are no caveats: "CAVEATS: NONE"."""
        return self.level is None and not self.caveats


def label_of(level: Level | None, caveats: Iterable[str] = ()) -> str:
    """Return a level and its caveats as a banner would say them."""
    named = [caveat.strip() for caveat in caveats if caveat.strip()]
    return "//".join([level.value if level else UNMARKED, *named])


def highest(levels: Iterable[Level | None]) -> Level | None:
    """Return the highest of some levels; None when there is none."""
    known = [level for level in levels if level is not None]
    return max(known, key=lambda level: level.rank) if known else None
