"""A single process that is killed during a run and restarted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.crash.visitor import Visitor
from tests.support.servers import running_server

pytestmark = pytest.mark.crash


def test_a_restarted_server_continues_its_runs_and_the_page_shows_it(
    tmp_path: Path,
) -> None:
    installation = Installation(tmp_path)
    hold = tmp_path / "hold"
    with running_server(installation.data_dir, **installation.settings) as server:
        (run_id,) = installation.launch(rounds=2, hold=str(hold))
        wait_for(
            lambda: len(installation.traces()) == 2, what="the second node to begin"
        )
        server.process.kill()
        server.process.wait()
    hold.touch()
    with running_server(installation.data_dir, **installation.settings) as server:
        report = wait_until_ended(installation)
        with Visitor(server.url) as visitor:
            page = visitor.read(f"/runs/{run_id}/")
    assert [run["status"] for run in report["runs"]] == ["completed"]
    completed = [s["sequence"] for s in report["stages"] if s["status"] == "completed"]
    assert sorted(completed) == [1, 2, 3, 4]
    assert [a["outcome"] for a in report["attempts"]] == [
        "lost",
        "released",  # by the child process, after the suspected step
        "completed",
    ]
    lost = report["attempts"][0]["worker"]
    assert f"Worker {lost} stopped responding." in page
