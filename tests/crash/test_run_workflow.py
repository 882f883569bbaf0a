"""The exit code of `manage.py run_workflow --wait` is the outcome of the run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project.env import ROOT
from tests.crash.processes import Installation, wait_for

pytestmark = pytest.mark.crash


def started(installation: Installation, **params: Any) -> subprocess.Popen[str]:
    """Start the command for the workflow `count`, without a server or worker."""
    given = [f"--param={name}={value}" for name, value in params.items()]
    return subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "run_workflow",
            "count",
            "--wait",
            "--json",
            *given,
        ],
        cwd=ROOT,
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_run_workflow_embeds_a_worker_and_exits_at_the_end_of_the_run(
    tmp_path: Path,
) -> None:
    installation = Installation(tmp_path)
    command = started(installation, trace=installation.trace, rounds=1)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, err
    message = json.loads(out)
    assert message["run"]["status"] == "completed"
    assert [stage["node_name"] for stage in message["stages"]] == [
        "begin",
        "work",
        "finish",
    ]
    assert [decision["taken"] for decision in message["decisions"]] == [
        True,
        False,
        True,
    ]


def test_run_workflow_exits_1_when_the_run_failed(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    command = started(installation, trace=tmp_path / "no such directory" / "trace")
    out, _ = command.communicate(timeout=60)
    assert command.returncode == 1
    assert json.loads(out)["run"]["error_code"] == "node_failed"


@pytest.mark.slow
def test_run_workflow_exits_4_when_someone_cancelled_the_run(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    command = started(installation, trace=installation.trace, hold=tmp_path / "never")
    wait_for(lambda: len(installation.traces()) == 2, what="the second node to begin")
    (run,) = installation.drive("report")["runs"]
    installation.drive("act", do="cancel", run=run["id"], reason="enough")
    out, _ = command.communicate(timeout=60)
    assert command.returncode == 4
    assert json.loads(out)["run"]["error_message"] == "enough"
