"""Questions about failed steps, and reruns of golden runs, whose processes are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.histories import run_of, wait_until_ended
from tests.crash.processes import Installation, kill, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.slow]
EDITED = {"choice": "retry", "changes": {"iban": "DE02"}}


def tries(installation: Installation) -> list[str]:
    """Return the input of each try of the step that fails first."""
    text = installation.trace.read_text() if installation.trace.exists() else ""
    words = [line.split() for line in text.splitlines()]
    return [line[1] for line in words if line[0] == "tried"]


def test_a_question_outlives_its_worker_its_respondent_and_the_next_worker(
    installation: Installation, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(name="transferring", hold=str(hold))
    with installation.worker("first") as first:
        waits = lambda: run_of(installation, run_id)["status"] == "waiting"  # noqa: E731
        wait_for(waits, what="the question")
        kill(first)
    given = {"run": run_id, "name": "ada", "value": EDITED}
    for moment in ("before", "after"):
        with pytest.raises(AssertionError):
            installation.drive("vote", kill=moment, **given)
        status = "waiting" if moment == "before" else "pending"
        assert run_of(installation, run_id)["status"] == status
    with installation.worker("second") as second:
        wait_for(lambda: "DE02" in tries(installation), what="the retry to begin")
        kill(second)
    hold.touch()
    with installation.worker("third"):
        report = wait_until_ended(installation)
    assert [run["status"] for run in report["runs"]] == ["completed"]
    assert report["results"][run_id]["iban"] == "DE02"
    assert tries(installation) == ["wrong", "DE02", "DE02"]
    stages = [one for one in report["stages"] if one["status"] != "interrupted"]
    assert [(one["sequence"], one["status"]) for one in stages] == [
        (1, "failed"),
        (2, "completed"),
        (3, "completed"),
    ]


def test_a_killed_golden_rerun_stores_nothing_and_the_next_one_its_result(
    installation: Installation, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    (run_id,) = installation.launch(rounds=1, hold=str(hold))
    with installation.worker("first"):
        before = wait_until_ended(installation)
    installation.drive("mark_golden", run=run_id)
    hold.unlink()
    begun = len(installation.traces())
    with installation.process("golden", "count") as rerun:
        reaches = lambda: len(installation.traces()) == begun + 2  # noqa: E731
        wait_for(reaches, what="the rerun to reach its second node")
        kill(rerun)
    results = "SELECT outcome FROM workflows_goldenresult"
    assert installation.ask(results) == []
    hold.touch()
    assert "1 same, 0 different" in installation.manage("golden", "count")
    assert installation.ask(results) == [("same",)]
    after = installation.drive("report")
    assert after["not_as_recorded"] == []
    for name in ("runs", "stages", "decisions", "checkpoints", "attempts"):
        assert after[name] == before[name], "nothing of a run is stored"
