"""A marking found on a page, and its weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workflows.definitions.markings.levels import Level
from workflows.runtime.records import Box

Kind = Literal[
    "header",  # banner at the top of the page
    "footer",  # banner at the bottom
    "stamp",  # separate marking elsewhere on the page
    "portion",  # (S//NF) before a paragraph or after a title
    "mention",  # in running text: little significance for the page
    "condition",  # "UNCLASSIFIED when separated from Annex B": does not apply to this page
    "release",  # "DECLASSIFIED", "Downgraded to CONFIDENTIAL"
]

UNMARKED = "NOT MARKED"
NO_CAVEATS = "NO CAVEATS"
MAX_LINE_LENGTH = 200  # characters of a banner, and of the stored text of a finding
BANNER_WEIGHT = 0.6  # from this weight, a stamp counts as a banner


class Finding(BaseModel):
    """A marking on a page."""

    model_config = ConfigDict(frozen=True)

    page: int  # from 1
    kind: Kind
    text: str  # as written
    level: Level | None  # None: only caveats
    caveats: tuple[str, ...] = ()
    weight: float = Field(ge=0, le=1)  # confidence that it marks the page
    box: Box
    times: int = 1  # occurrences on the page
    is_faint: bool = False  # letters are missing: the most likely marking

    @property
    def is_banner(self) -> bool:
        """Whether it marks the page as a whole."""
        return self.kind in ("header", "footer") or (
            self.kind == "stamp" and self.weight >= BANNER_WEIGHT
        )

    @property
    def label(self) -> str:
        """Return the level with its caveats, for example SECRET//NOFORN."""
        return (
            NO_CAVEATS
            if self.is_explicitly_none
            else label_of(self.level, self.caveats)
        )

    @property
    def is_explicitly_none(self) -> bool:
        """Whether it states that there are no caveats: "CAVEATS: NONE"."""
        return self.level is None and not self.caveats


def label_of(level: Level | None, caveats: Iterable[str] = ()) -> str:
    """Return a level and its caveats as written on a banner."""
    named = [caveat.strip() for caveat in caveats if caveat.strip()]
    return "//".join([level.value if level else UNMARKED, *named])


def highest(levels: Iterable[Level | None]) -> Level | None:
    """Return the highest level, None without one."""
    known = [level for level in levels if level is not None]
    return max(known, key=lambda level: level.rank) if known else None
