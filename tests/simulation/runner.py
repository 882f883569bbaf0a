"""Executes schedules in sequence, each on a copy of the empty database, in some processes."""

from __future__ import annotations

import gc
import multiprocessing
import sqlite3
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from django.db import connection

from tests.simulation.plants import planted
from tests.simulation.schedule import Schedule

FORK = multiprocessing.get_context("fork")  # a child has the database in memory


@dataclass
class Report:
    """What schedules did; reports add up."""

    schedules: int = 0
    failed: int = 0
    runs: int = 0
    steps: int = 0
    cpu_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Add what other schedules did."""
        self.schedules += other.schedules
        self.failed += other.failed
        self.runs += other.runs
        self.steps += other.steps
        self.cpu_seconds += other.cpu_seconds
        self.faults.update(other.faults)


class Runner:
    """Executes schedules and prints their findings."""

    def __init__(
        self,
        directory: Path,
        *,
        plant: str = "",
        with_digest: bool = False,
        until_failure: bool = False,
    ) -> None:
        """The database has to be migrated and empty; `plant` names a planted fault."""
        self._directory = directory
        self._plant = plant
        self._with_digest = with_digest
        self._until_failure = until_failure
        self._empty = sqlite3.connect(":memory:")
        connection.connection.backup(self._empty)

    def execute(self, seeds: range, processes: int = 1) -> int:
        """Return 1 if a schedule violated an invariant, else 0."""
        gc.disable()  # cycles are collected between schedules
        gc.collect()
        gc.freeze()  # a collection does not look at modules, models and templates
        began, report = time.perf_counter(), Report()
        if processes == 1:
            report = self._execute_all(seeds)
        else:
            for part in self._in_processes(seeds, processes):
                report.add(part)
        self._print(report, time.perf_counter() - began)
        return 1 if report.failed else 0

    def _print(self, report: Report, seconds: float) -> None:
        rate = report.schedules * 60 / seconds
        _print(
            f"{report.schedules} schedules, {report.failed} failed, {rate:.0f} per minute."
        )
        cpu = report.cpu_seconds * 1_000 / max(report.schedules, 1)
        _print(f"{report.runs} runs, {report.steps} steps, {cpu:.0f} ms of CPU each.")
        faults = sorted(report.faults.items())
        _print("Faults: " + ", ".join(f"{number} {name}" for name, number in faults))

    def _in_processes(self, seeds: range, processes: int) -> Iterator[Report]:
        """Yield the report of each process; all end after a failure that is the last."""
        share = -(-len(seeds) // processes)
        children: dict[Any, ForkProcess] = {}
        for number in range(processes):
            reports, sender = FORK.Pipe(duplex=False)
            part = seeds[number * share : (number + 1) * share]
            child = FORK.Process(target=self._serve, args=(number, part, sender))
            child.start()
            sender.close()  # so that the end of the child is the end of the pipe
            children[reports] = child
        try:
            while children:
                for one in wait([*children]):
                    receiver: Any = one
                    child = children.pop(receiver)
                    report: Report = receiver.recv()
                    child.join()
                    yield report
                    if report.failed and self._until_failure:
                        return
        finally:
            for child in children.values():
                child.terminate()

    def _serve(self, number: int, seeds: range, sender: Connection) -> None:
        """Be a process: execute a part of the seeds."""
        self._directory /= str(number)
        self._directory.mkdir()
        sender.send(self._execute_all(seeds))

    def _execute_all(self, seeds: Sequence[int]) -> Report:
        began, report = time.process_time(), Report()
        for seed in seeds:
            with _without_reports():
                self._execute(seed, report)
                gc.collect()
            if report.failed and self._until_failure:
                break
        report.cpu_seconds = time.process_time() - began
        return report

    def _execute(self, seed: int, report: Report) -> None:
        """Execute one schedule, and add it to the report."""
        self._empty.backup(connection.connection)
        schedule = Schedule(seed, self._directory)
        with planted(self._plant):
            violations = schedule.execute()
        report.add(
            Report(
                schedules=1,
                failed=bool(violations),
                runs=schedule.runs,
                steps=schedule.steps,
                faults=schedule.world.counts,
            )
        )
        if violations:
            _print("\n  ".join([f"Seed {seed}:", *violations]))
            plant = f' --plant "{self._plant}"' if self._plant else ""
            _print(
                f"Repeat it with: python -m tests.simulation --seed {seed} --log{plant}"
            )
        if self._with_digest:
            _print(f"Seed {seed}: {schedule.digest()}")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def _without_reports() -> Iterator[None]:
    """Ignore errors of the clean-up of tasks of crashed processes."""
    report, sys.unraisablehook = sys.unraisablehook, lambda _: None
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        yield
    sys.unraisablehook = report
