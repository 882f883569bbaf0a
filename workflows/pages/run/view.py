"""What of a run somebody looks at: the moment, the step or link, the log lines.

It is the query of the page's address: each way of looking has a link of its own. The
open page asks its socket for another one, which answers with what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from workflows.models import Level

MAX_DIGITS = 9
MAX_NAME_LENGTH = 200  # characters of a node's name
TRUE = "true"
MAX_SEARCH_LENGTH = 200  # characters looked for in the log


@dataclass(frozen=True, slots=True)
class RunView:
    """One way of looking at a run. The default is: now, all of it."""

    at: int | None = None  # after this many steps; None = now
    node: str = ""  # its visits are shown
    edge: tuple[str, int] | None = None  # its decisions are shown
    level: int = 0  # least of the log lines
    find: str = ""  # a text in them
    scale: bool = False  # the timeline is drawn to scale, long waits are not shortened

    @classmethod
    def read(cls, query: Mapping[str, str]) -> RunView:
        """Take what a query says; what means nothing is left out."""
        level = _number(query.get("level", "")) or 0
        return cls(
            at=_number(query.get("at", "")),
            node=_clean(query.get("node", ""), MAX_NAME_LENGTH),
            edge=_edge(query.get("edge", "")),
            level=level if level in Level.values else 0,
            find=_clean(query.get("find", ""), MAX_SEARCH_LENGTH).strip(),
            scale=query.get("scale", "") == TRUE,
        )

    @property
    def query(self) -> str:
        """Return the query that says the same, "" for the default."""
        values = {
            "at": "" if self.at is None else str(self.at),
            "node": self.node,
            "edge": f"{self.edge[0]}.{self.edge[1]}" if self.edge else "",
            "level": str(self.level or ""),
            "find": self.find,
            "scale": TRUE if self.scale else "",
        }
        told = urlencode({name: text for name, text in values.items() if text})
        return f"?{told}" if told else ""

    @property
    def lines_query(self) -> str:
        """Return the query of the same log lines."""
        return RunView(level=self.level, find=self.find).query

    def moved(self, at: int | None) -> str:
        """Return the query for the same at another moment; "?" for now and all of it."""
        return replace(self, at=at).query or "?"

    @property
    def rescaled(self) -> str:
        """Return the query of the other scale of the timeline."""
        return replace(self, scale=not self.scale).query or "?"

    @property
    def unselected(self) -> str:
        """Return the query without the chosen step or link."""
        return replace(self, node="", edge=None).query or "?"


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_number else None


def _clean(text: str, most: int) -> str:
    """Return a text that any database can be asked for."""
    return text.replace("\x00", "").encode(errors="ignore").decode()[:most]


def _edge(text: str) -> tuple[str, int] | None:
    """Return the source of a link, and its place among those that leave there."""
    source, _, place = _clean(text, MAX_NAME_LENGTH + MAX_DIGITS).rpartition(".")
    number = _number(place)
    return (source, number) if source and number is not None else None
