"""A process outlasts every run whose code would end it, and so do the runs next to it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.crash.processes import Installation, wait_for

SAID = {
    "circles": "inner",
    "exits-in-a-task": "SystemExit: 3",
    "foreign": "Foreign: inner",
    "interrupts": "KeyboardInterrupt",
    "interrupts-in-a-task": "KeyboardInterrupt",
}


def launch_all(installation: Installation) -> None:
    """Launch the innocent run and, next to it, all that would end the process."""
    installation.drive("launch_each", names=["innocent", *SAID, "items"], params={})


def must_have_ended_well(installation: Installation) -> None:
    """Every run was executed once; only those that raised have failed, with the error."""
    rows = installation.ask(
        "SELECT workflow_name, status, attempt, recoveries, error_message FROM workflows_run"
    )
    found = {name: rest for name, *rest in rows}
    assert found.pop("innocent") == ["completed", 1, 0, ""], installation.logs()
    # three of its four items succeeded, and it does not fail fast
    assert found.pop("items") == ["completed", 1, 0, ""]
    assert set(found) == set(SAID)
    for name, (status, attempt, recoveries, message) in found.items():
        assert (status, attempt, recoveries) == ("failed", 1, 0), (name, message)
        assert SAID[name] in message


def test_a_worker_outlasts_runs_that_would_end_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path, WORKFLOW_APPS="tests.crash.hostile")
    launch_all(installation)
    with installation.worker("one") as worker:
        wait_for(installation.are_ended, what="the end of all runs")
        assert worker.poll() is None, installation.logs()
        must_have_ended_well(installation)
        worker.terminate()
        assert worker.wait(30) == 0, installation.logs()


@pytest.mark.slow
def test_a_server_outlasts_runs_that_would_end_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path, WORKFLOW_APPS="tests.crash.hostile")
    launch_all(installation)
    with installation.process("serve", "--port", "0") as server:
        wait_for(installation.are_ended, what="the end of all runs")
        assert server.poll() is None, installation.logs()
        must_have_ended_well(installation)
        found = re.search(r"ready at (http://\S+)", installation.logs())
        assert found is not None
        with urlopen(f"{found[1]}health/live", timeout=10) as answer:  # noqa: S310 - ours
            assert answer.status == 200
        server.terminate()
        assert server.wait(30) == 0, installation.logs()
