"""Executes schedules in sequence, each on a copy of the empty database."""

from __future__ import annotations

import gc
import sqlite3
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from django.db import connection

from tests.simulation.plants import planted
from tests.simulation.schedule import Schedule


class Runner:
    """Executes schedules and prints their findings."""

    def __init__(self, directory: Path, plant: str = "") -> None:
        """The database has to be migrated and empty; `plant` names a planted fault."""
        self._directory = directory
        self._plant = plant
        self._faults = Counter[str]()
        self._empty = sqlite3.connect(":memory:")
        connection.connection.backup(self._empty)

    def execute(
        self, seeds: Iterable[int], *, with_digest: bool, until_failure: bool
    ) -> int:
        """Return 1 if a schedule violated an invariant, else 0."""
        gc.disable()  # cycles are collected between schedules
        began, executed, failed = time.perf_counter(), 0, 0
        for seed in seeds:
            executed += 1
            failed += self._execute(seed, with_digest=with_digest)
            _collect()
            if failed and until_failure:
                break
        rate = executed * 60 / (time.perf_counter() - began)
        _print(f"{executed} schedules, {failed} failed, {rate:.0f} per minute.")
        faults = sorted(self._faults.items())
        _print("Faults: " + ", ".join(f"{number} {name}" for name, number in faults))
        return 1 if failed else 0

    def _execute(self, seed: int, *, with_digest: bool) -> bool:
        """Execute one schedule; return whether it violated an invariant."""
        self._empty.backup(connection.connection)
        schedule = Schedule(seed, self._directory)
        with planted(self._plant):
            violations = schedule.execute()
        self._faults.update(schedule.world.counts)
        if violations:
            _print("\n  ".join([f"Seed {seed}:", *violations]))
            plant = f' --plant "{self._plant}"' if self._plant else ""
            _print(
                f"Repeat it with: python -m tests.simulation --seed {seed} --log{plant}"
            )
        if with_digest:
            _print(f"Seed {seed}: {schedule.digest()}")
        return bool(violations)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _collect() -> None:
    """Collect the tasks of crashed processes; errors of their clean-up are not reported."""
    report, sys.unraisablehook = sys.unraisablehook, lambda _: None
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        gc.collect()
    sys.unraisablehook = report
