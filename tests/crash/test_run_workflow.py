"""The exit code of `manage.py run_workflow --wait` is the outcome of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.crash.processes import Installation, wait_for
from tests.support import fork_server
from tests.support.fork_server import ForkedProcess

pytestmark = pytest.mark.crash


@dataclass(frozen=True)
class Command:
    """`run_workflow count --wait --json`, without a server or worker."""

    process: ForkedProcess
    output: Path
    errors: Path

    def result(self, *, code: int) -> Any:
        """Return what the command printed, at its end with this exit code."""
        assert self.process.wait(60) == code, self.errors.read_text()
        return json.loads(self.output.read_text())


def started(installation: Installation, **params: Any) -> Command:
    """Start the command for the workflow `count`."""
    given = [f"--param={name}={value}" for name, value in params.items()]
    output, errors = installation.home / "output", installation.home / "errors"
    process = fork_server.start(
        ["manage.py", "run_workflow", "count", "--wait", "--json", *given],
        environment=installation.environment,
        output=output,
        errors=errors,
    )
    return Command(process, output, errors)


def test_run_workflow_embeds_a_worker_and_exits_at_the_end_of_the_run(
    tmp_path: Path,
) -> None:
    installation = Installation(tmp_path)
    command = started(installation, trace=installation.trace, rounds=1)
    message = command.result(code=0)
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
    assert command.result(code=1)["run"]["error_code"] == "node_failed"


@pytest.mark.slow
def test_run_workflow_exits_4_when_someone_cancelled_the_run(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    command = started(installation, trace=installation.trace, hold=tmp_path / "never")
    wait_for(lambda: len(installation.traces()) == 2, what="the second node to begin")
    (run,) = installation.drive("report")["runs"]
    installation.drive("act", do="cancel", run=run["id"], reason="enough")
    assert command.result(code=4)["run"]["error_message"] == "enough"
