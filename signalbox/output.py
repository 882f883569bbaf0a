"""What the commands print: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS: Final = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}
COLUMN_CHARS: Final = 60


def as_json(value: Any) -> None:
    """Print a value as one JSON document."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def json_line(value: Any) -> None:
    """Print a value as a line of JSON, at once: it may be read by another program."""
    typer.echo(json.dumps(value, ensure_ascii=False))
    sys.stdout.flush()


def printable(value: object) -> str:
    """Return text in which control characters, which could steer a terminal, are escaped."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def line(text: str) -> None:
    """Print a line."""
    typer.echo(printable(text))


def note(text: str) -> None:
    """Print a line that is not part of the result."""
    typer.echo(printable(text), err=True)


def table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; long values are cut."""
    cells = [[_cell(value) for value in row] for row in (names, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    text = printable(value).replace("\n", " ").replace("\t", " ")
    return text if len(text) <= COLUMN_CHARS else text[: COLUMN_CHARS - 1] + "…"


def stage_line(stage: Any) -> str:
    """Return a line about a step that has ended."""
    took = stage["duration_ms"]
    duration = "" if took is None else f" in {took / 1000:.1f} s"
    error = f": {stage['error']}" if stage["error"] else ""
    return (
        f"{stage['sequence']:>4}. {stage['node']}: {stage['status']}{duration}{error}"
    )


def decision_line(decision: Any) -> str:
    """Return a line about an edge that was taken, or was not."""
    taken = "→" if decision["taken"] else "✗"
    person = f" by {decision['decided_by']}" if decision["decided_by"] else ""
    reason = f": {decision['reason']}" if decision["reason"] else ""
    edge = f"{decision['from_node']} {taken} {decision['to_node']}"
    return f"{decision['sequence']:>4}. {edge}{person}{reason}"


def log_line(one: Any) -> str:
    """Return a line of a log."""
    level = LEVELS.get(one["level"], str(one["level"]))
    return f"{one['created_at']} {level:<7} {one['message']}"


def run_lines(run: Any) -> list[str]:
    """Return lines about a run and its outcome."""
    lines = [f"Run {run['id']} of {run['workflow']} is {run['status']}."]
    if run["waiting"]:
        until = f", until {run['waiting']['until']}" if run["waiting"]["until"] else ""
        kind, node = run["waiting"]["kind"], run["waiting"]["node"]
        lines.append(f"It waits for: {kind} ({node}){until}")
    if run["error"]:
        lines.append(f"{run['error']['node']}: {run['error']['message']}")
    if run.get("cancel_reason"):
        lines.append(f"Reason: {run['cancel_reason']}")
    if run.get("result") is not None:
        lines.append(json.dumps(run["result"], ensure_ascii=False, indent=2))
    return lines
