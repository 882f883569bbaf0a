"""Async nodes that block the event loop of a real process, and the effects on other runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.crash.visitor import Visitor
from tests.support.servers import running_server

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

TOKEN = "a token for metrics"


def greedy(home: Path, **settings: Any) -> Installation:
    return Installation(home, WORKFLOW_APPS="tests.crash.greedy", **settings)


def lines_of(installation: Installation, run: str) -> list[str]:
    key = run if installation.settings.get("DATABASE_URL") else run.replace("-", "")
    rows = installation.ask(
        f"SELECT message FROM workflows_logline WHERE run_id = '{key}'"  # noqa: S608 - an id of the test
    )
    return [message for (message,) in rows]


@pytest.mark.slow
def test_pages_respond_while_a_node_of_the_embedded_worker_blocks_its_loop(
    tmp_path: Path,
) -> None:
    installation = greedy(tmp_path, METRICS_TOKEN=TOKEN)  # with leases of two seconds
    begun, other_begun, hold = (tmp_path / name for name in ("begun", "other", "hold"))
    log = tmp_path / "serve.log"
    with running_server(installation.data_dir, log=log, **installation.settings) as web:
        waits = {"hold": str(hold)}
        (other,) = installation.launch(
            1, "considerate", trace=str(other_begun), **waits
        )
        wait_for(other_begun.exists, what="the other run's node to begin")
        (culprit,) = installation.launch(1, "blocking-until", trace=str(begun), **waits)
        wait_for(begun.exists, what="the loop to be blocked")

        # The node waits for the file, so that all responses arrive before it returns.
        with Visitor(web.url) as visitor:
            wait_for(
                lambda: "blocks worker" in visitor.read(f"/runs/{culprit}/"),
                what="the run's page to name what blocks the loop",
            )
            page = visitor.read(f"/runs/{other}/")
        assert "is blocked by code of another run" in page
        assert "block_until" not in page
        hold.touch()
        report = wait_until_ended(installation)
        metrics = Request(  # noqa: S310 - ours
            f"{web.url}metrics", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urlopen(metrics, timeout=20) as answer:  # noqa: S310 - ours
            metrics_text = answer.read().decode()
        assert web.stop() == 0, log.read_text()
    assert {run["status"] for run in report["runs"]} == {"completed"}
    assert {attempt["number"] for attempt in report["attempts"]} == {1}
    assert other_begun.read_text() == "begun\n"
    (line,) = lines_of(installation, culprit)
    assert line.startswith("block_until held the event loop for ")
    assert "make it a plain `def`" in line
    assert 'signalbox_blocked_loops_total{node="block_until"} 1.0' in metrics_text
    assert "is blocked by node block_until of run" in log.read_text()


def test_a_loop_that_stays_blocked_is_replaced_and_only_the_run_that_blocks_it_fails(
    tmp_path: Path,
) -> None:
    installation = greedy(tmp_path, BLOCKED_LOOP_SECONDS="1", DRAIN_SECONDS="0.2")
    begun, other_begun, hold = (tmp_path / name for name in ("begun", "other", "hold"))
    never = str(tmp_path / "never")
    with installation.worker("only") as worker:
        (other,) = installation.launch(
            1, "considerate", trace=str(other_begun), hold=str(hold)
        )
        wait_for(other_begun.exists, what="the other run's node to begin")
        (culprit,) = installation.launch(
            1, "blocking-until", trace=str(begun), hold=never
        )
        # The other run continues on a new loop while the first one is blocked.
        wait_for(
            lambda: other_begun.read_text() == "begun\nbegun\n",
            what="the other run's node to begin again",
        )
        hold.touch()
        report = wait_until_ended(installation)
        worker.terminate()
        assert worker.wait(40) == 0, installation.logs()
    runs = {run["id"]: run for run in report["runs"]}
    assert runs[other]["status"] == "completed", installation.logs()
    assert (runs[other]["recoveries"], runs[other]["attempt"]) == (0, 2)
    assert runs[culprit]["status"] == "failed"
    message = runs[culprit]["error_message"]
    assert message.startswith("“block_until” held the event loop of its worker for ")
    outcomes = {
        (one["run_id"], one["number"]): one["outcome"] for one in report["attempts"]
    }
    assert outcomes[(other, 1)] == "released"
    assert outcomes[(culprit, 1)] == "failed"
    assert installation.ask("SELECT stopped_at FROM workflows_worker") != [(None,)]


@pytest.mark.slow
def test_an_abandoned_loop_that_returns_executes_and_writes_nothing_more(
    tmp_path: Path,
) -> None:
    installation = greedy(tmp_path, BLOCKED_LOOP_SECONDS="1")
    begun, hold = tmp_path / "begun", tmp_path / "hold"
    holds = "SELECT holds FROM workflows_worker"
    with installation.worker("only", capacity=1):
        (culprit,) = installation.launch(
            1, "blocking-until", trace=str(begun), hold=str(hold)
        )
        failed = wait_until_ended(installation)
        (next_run,) = installation.launch(
            1, "considerate", trace=str(tmp_path / "next"), hold=str(hold)
        )
        wait_for(
            lambda: "claims no more runs" in installation.logs(),
            what="the abandoned code to take the only slot",
        )
        hold.touch()
        report = wait_until_ended(installation)
        wait_for(
            lambda: "abandoned" not in str(installation.ask(holds)), what="its end"
        )
    by_id = {run["id"]: run for run in report["runs"]}
    assert by_id[next_run]["status"] == "completed"
    assert by_id[culprit] == failed["runs"][0]
    stages = [one["node_name"] for one in report["stages"] if one["run_id"] == culprit]
    assert stages == ["block_until"]
