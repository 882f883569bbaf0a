"""Parser of the permission table in docs/permissions.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from project.env import ROOT

DOCUMENT = ROOT / "docs" / "permissions.md"
CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Entry:
    """A method and URL, such as `POST runs/<uuid:run_id>/cancel/`, with its responses."""

    name: str
    expected: dict[str, str]  # response by column

    @property
    def verb(self) -> str:
        """Return GET, POST, socket, action or command."""
        return self.name.split(" ", 1)[0]

    @property
    def address(self) -> str:
        """Return the address as the urlconf has it."""
        return self.name.split(" ", 1)[1]

    @property
    def is_in_admin(self) -> bool:
        """Return whether this is an address of Django admin."""
        return self.verb in {"GET", "POST"} and self.address.startswith("admin/")


def entries(heading: str = "Address") -> list[Entry]:
    """Return every entry of the table whose first column has this heading."""
    return list(_entries(heading))


def _entries(heading: str) -> Iterator[Entry]:
    columns: list[str] = []
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in CELL.split(line.strip("|"))]
        if cells[0] == heading:
            columns = cells[1:]
        elif columns and not line.startswith("|"):
            return
        elif columns and not set(cells[0]) <= {"-", " "}:
            expected = dict(zip(columns, cells[1:], strict=True))
            for name in re.findall(r"`([^`]+)`", cells[0]):
                for expanded_name in expanded(name.replace("\\|", "|")):
                    yield Entry(expanded_name, expected)


def expanded(name: str) -> Iterator[str]:
    """Expand braces: `a/{b,c}/` yields `a/b/` and `a/c/`."""
    found = re.search(r"\{([^}]*)\}", name)
    if found is None:
        yield name
        return
    for part in found[1].split(","):
        yield from expanded(name[: found.start()] + part + name[found.end() :])
