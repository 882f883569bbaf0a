"""Interleaved rounds of all systems, so that the machine's speed is the same for each."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.comparison.systems import (
    HARNESSES,
    ON_SQLITE,
    OURS,
    OWN,
    measure,
    own,
    own_lines,
)
from bench.comparison.tables import Medians, growth_tables, tables, team_table
from bench.gauges import loop_ms, syncs_per_second
from bench.servers import postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.comparison.systems import Measurement

    Step = tuple[str, Callable[[], Measurement]]  # its name, and what measures it


def compare(  # noqa: PLR0913 - the options of the command
    directory: Path,
    venvs: Path | None,
    rounds: int,
    workloads: Sequence[str],
    *,
    growth: bool,
    team: bool,
) -> None:
    """Measure all systems that are installed, and print the tables.

    Within a round, a workload of all systems is measured before the next one. With `growth`
    and `team`, those tables follow; they are of one measurement.
    """
    with tempfile.TemporaryDirectory(prefix="bench-comparison-") as home:
        postgresql(Path(home))  # one server for all
        found: list[Measurement] = []
        for number in range(rounds):
            for name, step in _steps(directory, venvs, workloads, Path(home)):
                _report(f"round {number + 1} of {rounds}: {name}")
                found.append(step())
                if found[-1].error:
                    _report(f"  failed: {found[-1].error}")
        speed = f"{syncs_per_second(Path(home))} syncs/s, {loop_ms()} ms for the loop"
    _print(*tables(Medians(found)))
    for one in found:
        if one.error:
            _print(f"- {one.system} {one.workload} on {one.database}: {one.error}")
    _print(f"- Interleaved rounds: {rounds}; {speed}.", "")
    if growth:
        _print(*growth_tables(own_lines("bench.growth")))
    if team:
        _print(*team_table(own_lines("bench.team")))


def _print(*lines: str) -> None:
    """Print lines at once: what was measured must not be lost with what follows."""
    print(*lines, sep="\n", flush=True)  # noqa: T201 - the output of the command


def _steps(
    directory: Path, venvs: Path | None, workloads: Sequence[str], scratch: Path
) -> Iterator[Step]:
    for database in ("pg", "sqlite"):
        for workload in OWN:
            base = workload.split()[0]
            if base not in workloads:
                continue
            if database == "pg" or workload in ON_SQLITE:
                name = f"{OURS} {workload} on {database}"
                yield name, lambda w=workload, d=database: own(w, d)  # type: ignore[misc]
            if workload == base:
                yield from _others(directory, venvs, workload, database, scratch)


def _others(
    directory: Path, venvs: Path | None, workload: str, database: str, scratch: Path
) -> Iterator[Step]:
    for harness in HARNESSES:
        python = harness.python(directory, venvs)
        is_present = python is not None and (directory / harness.script).exists()
        if (
            is_present
            and database in harness.databases
            and workload in harness.workloads
        ):
            name = f"{harness.system} {workload} on {database}"
            where = (directory, workload, database, scratch)
            yield name, lambda h=harness, p=python, w=where: measure(h, p, *w)  # type: ignore[misc]


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress
