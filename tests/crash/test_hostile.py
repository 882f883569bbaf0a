"""Processes and other runs survive runs whose code attempts to end the process."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.crash.processes import Installation, wait_for

ERRORS = {
    "circles": "inner",
    "exits-in-a-task": "SystemExit: 3",
    "foreign": "Foreign: inner",
    "interrupts": "KeyboardInterrupt",
    "interrupts-in-a-task": "KeyboardInterrupt",
}


def launch_all(installation: Installation) -> None:
    """Launch the innocent run and all runs that attempt to end the process."""
    installation.drive("launch_each", names=["innocent", *ERRORS, "items"], params={})


def assert_expected_ends(installation: Installation) -> None:
    """Assert that each run was executed once, and only those that raised failed."""
    rows = installation.ask(
        "SELECT workflow_name, status, attempt, recoveries, error_message FROM workflows_run"
    )
    found = {name: rest for name, *rest in rows}
    assert found.pop("innocent") == ["completed", 1, 0, ""], installation.logs()
    # Three of four items succeeded; the node does not fail fast.
    assert found.pop("items") == ["completed", 1, 0, ""]
    assert set(found) == set(ERRORS)
    for name, (status, attempt, recoveries, message) in found.items():
        assert (status, attempt, recoveries) == ("failed", 1, 0), (name, message)
        assert ERRORS[name] in message


def test_a_worker_survives_runs_that_attempt_to_end_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path, WORKFLOW_APPS="tests.crash.hostile")
    launch_all(installation)
    with installation.worker("one") as worker:
        wait_for(installation.are_ended, what="the end of all runs")
        assert worker.poll() is None, installation.logs()
        assert_expected_ends(installation)
        worker.terminate()
        assert worker.wait(30) == 0, installation.logs()


@pytest.mark.slow
def test_a_server_survives_runs_that_attempt_to_end_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path, WORKFLOW_APPS="tests.crash.hostile")
    launch_all(installation)
    with installation.process("serve", "--port", "0") as server:
        wait_for(installation.are_ended, what="the end of all runs")
        assert server.poll() is None, installation.logs()
        assert_expected_ends(installation)
        found = re.search(r"ready at (http://\S+)", installation.logs())
        assert found is not None
        with urlopen(f"{found[1]}health/live", timeout=10) as answer:  # noqa: S310 - ours
            assert answer.status == 200
        server.terminate()
        assert server.wait(30) == 0, installation.logs()
