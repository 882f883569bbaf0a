"""Measure the current speed of the machine, and the cost of the database server."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.servers import DATA_DIRECTORY

GAUGE_SECONDS = 0.3
BLOCK = b"x" * 8_192


def syncs_per_second(home: Path) -> int:
    """Return how often the disk makes 8 kB durable in a second."""
    place = os.open(home / "gauge", os.O_CREAT | os.O_WRONLY, 0o600)
    number, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < GAUGE_SECONDS:
        os.pwrite(place, BLOCK, 0)
        os.fdatasync(place)
        number += 1
    took = time.perf_counter() - begin
    os.close(place)
    return round(number / took)


def loop_ms() -> float:
    """Return the milliseconds of a fixed loop in Python: about 10 on an idle machine."""
    begin, total = time.perf_counter(), 0
    for number in range(300_000):
        total += number & 7
    return round((time.perf_counter() - begin) * 1_000, 1)


def server_cpu() -> float:
    """Return the CPU seconds of the PostgreSQL server in PERF_PGDATA; 0 without one."""
    data = os.environ.get(DATA_DIRECTORY)
    if not data:
        return 0.0
    return tree_cpu(int((Path(data) / "postmaster.pid").read_text().split()[0]))


def tree_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its children, ended ones included."""
    total = 0.0
    for stat in _stats():
        name, _, rest = stat.rpartition(")")
        facts = rest.split()
        if str(pid) in (name.split()[0], facts[1]):
            total += _cpu(facts)
    return total


def _stats() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(process.read_text())
        except OSError:  # the process has ended
            continue
    return found


def _cpu(facts: list[str]) -> float:
    """Return the seconds in the fields of a stat line that follow the name."""
    ticks = sum(int(value) for value in facts[11:15])  # its own and its children's
    return ticks / os.sysconf("SC_CLK_TCK")
