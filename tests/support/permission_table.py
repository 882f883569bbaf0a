"""The table of docs/rights.md: what each role gets at each address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from project.env import ROOT

DOCUMENT = ROOT / "docs" / "rights.md"
CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Entry:
    """One address and what is done there: `POST runs/<uuid:run_id>/cancel/`."""

    name: str
    expected: dict[str, str]  # by column

    @property
    def verb(self) -> str:
        """Return GET, POST, socket or command."""
        return self.name.split(" ", 1)[0]

    @property
    def address(self) -> str:
        """Return the address as the urlconf has it."""
        return self.name.split(" ", 1)[1]


def entries() -> list[Entry]:
    """Return every entry of the table."""
    return list(_entries())


def _entries() -> Iterator[Entry]:
    columns: list[str] = []
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in CELL.split(line.strip("|"))]
        if cells[0] == "Address":
            columns = cells[1:]
        elif columns and not line.startswith("|"):
            return
        elif columns and not set(cells[0]) <= {"-", " "}:
            expected = dict(zip(columns, cells[1:], strict=True))
            for name in re.findall(r"`([^`]+)`", cells[0]):
                for one in expanded(name.replace("\\|", "|")):
                    yield Entry(one, expected)


def expanded(name: str) -> Iterator[str]:
    """Yield what a name with braces stands for: `a/{b,c}/` is `a/b/` and `a/c/`."""
    found = re.search(r"\{([^}]*)\}", name)
    if found is None:
        yield name
        return
    for part in found[1].split(","):
        yield from expanded(name[: found.start()] + part + name[found.end() :])
