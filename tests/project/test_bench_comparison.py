"""`python -m bench --beside` measures what is installed, in turn, and compares medians."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.comparison import rounds
from bench.comparison.rounds import compare
from bench.comparison.systems import OURS, Harness, Measurement, measure, values_of
from bench.comparison.tables import Medians, growth_tables, tables, team_table

SCRIPT = """
import json, os, sys
if "W2" in sys.argv:
    raise SystemExit("planted")
assert "DATABASE_URL" not in os.environ
print("a line of its own")
print("RESULT " + json.dumps({"runs": 1, "steps": 100, "steps_per_s": 240.0, "cpu_s": 0.1,
    "pg_cpu_s": 0.05, "db_bytes": 2_000_000, "lat_p50_ms": 5.0, "argv": sys.argv[1:]}))
"""
HARNESS = Harness("Other", "peer_other.py", ("pg",), arguments={"W1": ("--fast",)})


def directory_with(script: str, tmp_path: Path) -> Path:
    """Return a directory with the harness and its virtual environment."""
    (tmp_path / "peer_other.py").write_text(script)
    python = tmp_path / ".venv-other" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def of(
    system: str, value: float, figure: str = "steps_per_s", workload: str = "W1"
) -> Measurement:
    return Measurement(system, workload, "pg", {figure: value})


def lines_of(*measurements: Measurement) -> list[str]:
    return [*tables(Medians(measurements))]


def test_a_harness_is_executed_by_its_own_python_with_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://of-signalbox")
    directory = directory_with(SCRIPT, tmp_path)
    python = HARNESS.python(directory, None)
    assert python is not None
    assert python.is_relative_to(tmp_path)
    assert "--fast" in HARNESS.command(python, directory, "W1", "pg")
    found = measure(HARNESS, python, directory, "W1", "pg", tmp_path)
    assert found.figures == {
        "steps_per_s": 240.0,
        "process_ms": 1.0,
        "server_ms": 0.5,
        "stored_mb": 2.0,
        "p50_ms": 5.0,
    }
    failed = measure(HARNESS, python, directory, "W2", "pg", tmp_path)
    assert (failed.figures, failed.error) == ({}, "planted")


def test_a_system_that_is_not_installed_is_left_out(tmp_path: Path) -> None:
    assert HARNESS.python(tmp_path, None) is None
    assert HARNESS.python(tmp_path, tmp_path / "venvs") is None


def test_figures_of_ours_have_the_same_names() -> None:
    ours = {"process_cpu_ms_per_step": 0.2, "stored_bytes": 1_000_000, "p95_ms": 9.0}
    assert values_of(ours) == {"process_ms": 0.2, "stored_mb": 1.0, "p95_ms": 9.0}


def test_medians_of_the_rounds_are_compared_with_the_targets() -> None:
    ours = [of(OURS, value) for value in (400.0, 700.0, 9_000.0)]
    others = [of("DBOS", 200.0), of("four commits", 600.0), of("floor", 3_000.0)]
    row = next(text for text in lines_of(*ours, *others) if text.startswith("| W1: "))
    assert "| 700 | 200 | 600 | 3,000 |" in row
    assert "≥ 3 × DBOS: 3.50, met" in row
    assert "≥ 1.3 × four commits: **1.17**" in row
    assert "≥ 1 × Restate: not measured" in row


def test_an_upper_limit_is_met_from_below() -> None:
    found = lines_of(
        of(OURS, 0.3, "process_ms", "W2"), of(OURS, 0.1, "server_ms", "W2")
    )
    assert any("| 0.3 | ≤ 0.25: **not met** |" in text for text in found)
    assert any("| 0.1 | ≤ 0.18: met |" in text for text in found)


def test_figures_of_our_own_are_compared_with_each_other() -> None:
    found = lines_of(
        of(OURS, 1_000.0, workload="W2"),
        of(OURS, 1_500.0, workload="W2 two workers"),
        of(OURS, 4.0, "p50_ms", "W5"),
        of(OURS, 10.0, "p95_ms", "W5"),
    )
    assert "- Two worker processes against one: 1.50 × (≥ 1.4: met)" in found
    tail = "- W5, pg: 95th percentile against the 50th: 2.50 × (≤ 2: **not met**)"
    assert tail in found


def test_growth_is_the_ratio_of_the_largest_size_to_the_smallest() -> None:
    def point(at: int, process: float) -> dict[str, Any]:
        return {"growth": "ended", "at": at, "process_ms": process, "server_ms": 0.1}

    found = [*growth_tables([point(0, 0.3), point(1_000_000, 0.4)])]
    assert found[0].startswith("| Ended runs in the tables | 0 | 1,000,000 |")
    assert found[4] == "| CPU per step, both, ms | 0.4 | 0.5 | **1.25** |"
    found = [*growth_tables([point(0, 0.3), point(1_000_000, 0.31)])]
    assert found[4].endswith("| 1.02, met |")


def test_the_team_has_a_table() -> None:
    times = {"p50_ms": 5.0, "p95_ms": 9.0}
    one = {"webs": 2, "workers": 3, "steps_per_s": 900.0, "launch": times}
    found = [*team_table([one | {"page": times}])]
    assert "| 500 runs × 10 steps, steps/s | 900 |  |" in found


def test_systems_take_turns_within_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order = []

    def own(workload: str, database: str) -> Measurement:
        order.append((OURS, workload, database))
        return Measurement(OURS, workload, database, {"steps_per_s": 500.0})

    def other(*arguments: Any) -> Measurement:
        harness, _, _, workload, database, _ = arguments
        order.append((harness.system, workload, database))
        return Measurement(harness.system, workload, database, error="planted")

    monkeypatch.setattr(rounds, "HARNESSES", (HARNESS,))
    monkeypatch.setattr(rounds, "own", own)
    monkeypatch.setattr(rounds, "measure", other)
    monkeypatch.setattr(rounds, "postgresql", lambda _home: "")
    directory = directory_with(SCRIPT, tmp_path)
    compare(directory, None, 2, ["W1"], growth=False, team=False)
    once = [(OURS, "W1", "pg"), ("Other", "W1", "pg"), (OURS, "W1", "sqlite")]
    assert order == once * 2
    output = capsys.readouterr().out
    assert "| W1: 1 run × 100 steps, steps/s | 500 |" in output
    assert "- Other W1 on pg: planted" in output
