"""`python -m bench.what_if [--runs N] [--db sqlite|pg]`: recorded decisions evaluated per minute.

Prints one JSON line. The runs are made up: a typed state, a patch per step, a function with a
template as the condition.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from bench.__main__ import prepare

SETTINGS = {"threshold": "0.7"}


def main() -> None:
    """Insert the runs, evaluate their decisions, and print the rate."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.what_if", description=__doc__
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--db", choices=["sqlite", "pg"], default="sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        prepare(Path(home), given.db)
        print(json.dumps({"db": given.db, **measure(given.runs)}))  # noqa: T201 - its output


def measure(runs: int) -> dict[str, float]:
    """Return the number of decisions, those elsewhere, and the rate."""
    from tests.support import recorded_runs  # noqa: PLC0415 - models need the setup
    from workflows.registry import registry  # noqa: PLC0415
    from workflows.system import system  # noqa: PLC0415

    registry.register(recorded_runs.make_workflow())
    rng = random.Random(1)  # noqa: S311 - nothing secret
    recorded_runs.make_runs(rng.random() for _ in range(runs))
    report = system.what_if(recorded_runs.NAME, SETTINGS)
    began, cpu_began = time.perf_counter(), time.process_time()
    elsewhere = sum(1 for _ in report.findings())
    seconds = time.perf_counter() - began
    cpu_seconds = time.process_time() - cpu_began  # of this process
    decisions = report.report.decisions
    return {
        "runs": runs,
        "decisions": decisions,
        "elsewhere": elsewhere,
        "seconds": round(seconds, 2),
        "per_minute": round(decisions / seconds * 60),
        "cpu_seconds": round(cpu_seconds, 2),
        "per_minute_of_cpu": round(decisions / cpu_seconds * 60),
    }


if __name__ == "__main__":
    main()
