"""The workloads of `python -m bench` measure nothing but themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.gauges import server_cpu, tree_cpu
from bench.in_flight import InFlight
from bench.servers import DATA_DIRECTORY, URL, postgresql
from bench.workloads import Bench, Workload
from workflows.engine import Node, State, node
from workflows.infra.database_threads import run_in_db
from workflows.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


class FailingBench(Bench):
    """Its nodes raise."""

    def _node(self, number: int) -> Node[State, State]:
        @node(name=f"n{number}")
        async def step(_state: State) -> State:
            raise ValueError("planted")

        return step


def test_a_workload_waits_for_its_runs_without_queries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = []

    async def count(call: Callable[[], Any]) -> Any:
        queries.append(call)
        return await run_in_db(call)

    monkeypatch.setattr("bench.workloads.run_in_db", count)
    figures = asyncio.run(Bench(Workload(runs=3, steps=2, sleep=0.1)).run())
    assert figures["stored_bytes"] > 0
    # after the warm-up: its outcome, and its rows are deleted; at the end: outcome, bytes
    assert len(queries) == 4


def test_a_run_that_failed_is_not_measured() -> None:
    with pytest.raises(SystemExit, match="failed instead of completed"):
        asyncio.run(FailingBench(Workload(runs=1, steps=1)).run())


def test_the_cpu_of_a_process_includes_its_children() -> None:
    before = tree_cpu(os.getpid())
    code = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run(["python3", "-c", code], check=True)
    assert tree_cpu(os.getpid()) - before >= 0.2


@pytest.mark.slow
def test_the_server_that_a_measurement_starts_is_durable_and_its_cpu_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (URL, DATA_DIRECTORY):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    url = postgresql(tmp_path)
    with psycopg.connect(url) as connection:
        for setting in ("fsync", "synchronous_commit"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)
    assert server_cpu() > 0
    assert postgresql(tmp_path / "another") == url


class CountingInFlight(InFlight):
    """Knows how many of its runs were launched and had not ended, at most."""

    def __init__(self, runs: int, at_once: int) -> None:
        super().__init__(runs, at_once)
        self.launched = self.ended = self.most = 0

    async def _warm(self) -> None:
        """Everything counts."""

    async def _from_outside(self) -> str:
        self.launched += 1
        self.most = max(self.most, self.launched - self.ended)
        return await super()._from_outside()

    def _on_run_ended(self, run: Run) -> None:
        self.ended += 1
        super()._on_run_ended(run)


def test_runs_at_once_are_limited() -> None:
    bench = CountingInFlight(runs=6, at_once=2)
    asyncio.run(bench.run())
    assert (bench.launched, bench.ended) == (6, 6)
    assert bench.most == 2
