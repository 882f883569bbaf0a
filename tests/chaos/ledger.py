"""Files outside of the database: executions of nodes, and responses to clients.

Both are JSON lines, each appended with one write, so that lines of several processes do not
mix and a killed process leaves no half of one. The order of lines is the order of events:
all processes run on one machine.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BEGIN, END = "begin", "end"


@dataclass(frozen=True, slots=True)
class Execution:
    """The start or end of a call of a node, or of an item of a parallel node."""

    what: str  # BEGIN or END
    run: str  # id of the run, hex digits only
    node: str
    step: int
    item: int | None
    attempt: int
    token: str  # unique per call


def append(path: Path | str, line: dict[str, Any]) -> None:
    """Append a line atomically."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def append_execution(path: Path | str, execution: Execution) -> None:
    """Append to the ledger."""
    append(path, asdict(execution))


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file that may not exist yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def executions(path: Path) -> list[Execution]:
    """Return the ledger."""
    return [Execution(**line) for line in lines(path)]
