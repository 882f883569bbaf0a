"""Checks of the status and the recorded history of runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.crash.processes import Installation, wait_for


def run_of(installation: Installation, run_id: str) -> dict[str, Any]:
    """Return the row of one run."""
    return next(
        run for run in installation.drive("report")["runs"] if run["id"] == run_id
    )


def wait_until_ended(
    installation: Installation, *, seconds: float = 60
) -> dict[str, Any]:
    """Wait until every run has ended; return the report."""
    wait_for(installation.are_ended, what="all runs to end", seconds=seconds)
    report: dict[str, Any] = installation.drive("report")
    assert report["not_as_recorded"] == [], report["not_as_recorded"]
    return report


def check_history(report: dict[str, Any], rounds: int) -> None:
    """Assert that every run completed and every step was recorded exactly once."""
    assert {run["status"] for run in report["runs"]} == {"completed"}
    completed = Counter(
        (s["run_id"], s["sequence"])
        for s in report["stages"]
        if s["status"] == "completed"
    )
    steps = rounds + 2
    expected = {(run["id"], n + 1) for run in report["runs"] for n in range(steps)}
    assert set(completed) == expected
    assert set(completed.values()) == {1}
    saved = Counter((c["run_id"], c["sequence"]) for c in report["checkpoints"])
    assert set(saved) == {
        (run["id"], n) for run in report["runs"] for n in range(steps + 1)
    }
    by = {
        (s["run_id"], s["sequence"]): s["attempt"]
        for s in report["stages"]
        if s["status"] == "completed"
    }
    for checkpoint in report["checkpoints"]:
        if checkpoint["sequence"]:
            place = (checkpoint["run_id"], checkpoint["sequence"])
            assert by[place] == checkpoint["attempt"]
    check_decisions(report, rounds)
    for run in report["runs"]:
        result = report["results"][run["id"]]
        nodes = ["begin", *["work"] * rounds, "finish"]
        assert result["steps"] == [
            f"{run['id']}/{n}/{i}" for i, n in enumerate(nodes, 1)
        ]


def check_decisions(report: dict[str, Any], rounds: int) -> None:
    """Assert that every evaluated edge has one row, and that the expected one was taken.

    An attempt that continues at the end of a step evaluates its edges again, with separate
    rows, and must take the same edge.
    """
    steps = rounds + 2
    targets = ["work"] * rounds + ["finish"]
    found: dict[tuple[str, int], dict[int, list[tuple[int, bool, str]]]] = {}
    for d in report["decisions"]:
        attempts = found.setdefault((d["run_id"], d["sequence"]), {})
        row = (d["edge_index"], d["taken"], d["to_node"])
        attempts.setdefault(d["attempt"], []).append(row)
    for run in report["runs"]:
        for step in range(1, steps):
            for rows in found[run["id"], step].values():
                taken = [to for _, is_taken, to in rows if is_taken]
                assert taken == [targets[step - 1]], (run["id"], step, rows)
                evaluated = (
                    2 if step == steps - 1 else 1
                )  # includes an edge whose condition is not met
                assert sorted(index for index, *_ in rows) == [*range(evaluated)]
