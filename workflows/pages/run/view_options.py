"""The view of a run page: point in time, selected node or edge, log filter, scale.

It is the query of the page's URL, so that each view can be linked. An open page sends the
query of another view over its websocket and receives the regions that differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from workflows.models import Level

MAX_DIGITS = 9
MAX_NAME_LENGTH = 200  # characters of a node's name
MAX_SEARCH_LENGTH = 200  # characters of the log search
TRUE = "true"


@dataclass(frozen=True, slots=True)
class RunView:
    """A view of a run page. The default is the current state with nothing selected."""

    at: int | None = None  # after this step; None = now
    node: str = ""  # selected node
    edge: tuple[str, int] | None = None  # selected edge: source, index at the source
    level: int = 0  # minimum level of log lines
    find: str = ""  # text in log lines
    scale: bool = False  # show long waits to scale instead of compressed

    @classmethod
    def read(cls, query: Mapping[str, str]) -> RunView:
        """Read a query; invalid values are ignored."""
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
        """Return the query with its question mark, "" for the default view."""
        values = {
            "at": "" if self.at is None else str(self.at),
            "node": self.node,
            "edge": f"{self.edge[0]}.{self.edge[1]}" if self.edge else "",
            "level": str(self.level or ""),
            "find": self.find,
            "scale": TRUE if self.scale else "",
        }
        encoded = urlencode({name: text for name, text in values.items() if text})
        return f"?{encoded}" if encoded else ""

    @property
    def lines_query(self) -> str:
        """Return the query with the log filter only."""
        return RunView(level=self.level, find=self.find).query

    @property
    def rescaled(self) -> str:
        """Return the query with the other scale of the timeline."""
        return replace(self, scale=not self.scale).query or "?"

    @property
    def unselected(self) -> str:
        """Return the query without the selected node or edge."""
        return replace(self, node="", edge=None).query or "?"


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_number else None


def _clean(text: str, max_length: int) -> str:
    """Return a text without characters that a database refuses."""
    return text.replace("\x00", "").encode(errors="ignore").decode()[:max_length]


def _edge(text: str) -> tuple[str, int] | None:
    """Parse `source.index`; None if it is not of that form."""
    source, _, index = _clean(text, MAX_NAME_LENGTH + MAX_DIGITS).rpartition(".")
    number = _number(index)
    return (source, number) if source and number is not None else None
