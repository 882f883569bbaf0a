"""The end of a process is charged only to the run that caused it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, kill, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

FATAL = {"WORKFLOW_APPS": "tests.crash.fatal", "MAX_RECOVERIES": "2"}


def make(tmp_path: Path, **settings: str) -> Installation:
    """Return an installation on SQLite with the fatal workflows."""
    return Installation(tmp_path, **(FATAL | settings))


@pytest.mark.parametrize(
    "database", ["postgres", pytest.param("sqlite", marks=pytest.mark.slow)]
)
def test_only_the_run_that_ends_its_process_fails(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("migrated_url") if database == "postgres" else ""
    redis = request.getfixturevalue("redis_url") if database == "postgres" else ""
    installation = Installation(tmp_path, database=url, redis=redis, **FATAL)
    go = tmp_path / "go"
    innocent = installation.launch(2, "innocent", hold=str(go))
    (culprit,) = installation.launch(1, "fatal", how="kill", alone=str(go))
    with installation.worker("one", 8) as first:
        wait_for(lambda: _in_second_step(installation) == 3, what="the second steps")
        go.touch()
        assert first.wait(60) == -signal.SIGKILL
    with installation.worker("one", 8) as second:
        report = wait_until_ended(installation)
        assert second.poll() is None, "the worker survives the culprit"
    runs = {run["id"]: run for run in report["runs"]}
    assert [runs[run_id]["status"] for run_id in innocent] == ["completed"] * 2
    assert {runs[run_id]["recoveries"] for run_id in innocent} == {0}
    assert runs[culprit]["status"] == "failed"
    message = runs[culprit]["error_message"]
    assert message.startswith(
        "The process that executed node “end_process” ended with signal 9 (SIGKILL)"
        " 2 times in a row; peak memory "
    ), message
    outcomes = [a["outcome"] for a in report["attempts"] if a["run_id"] == culprit]
    assert outcomes == ["lost"] * 3


def _in_second_step(installation: Installation) -> int:
    started = "SELECT COUNT(*) FROM workflows_run WHERE current_stage LIKE '{\"sequence\":2,%'"
    ((count,),) = installation.ask(started)
    return int(count)


def _suspect(installation: Installation, tmp_path: Path, **params: str) -> str:
    """Kill a worker in the second step of a run; return the id of the run."""
    name = "fatal" if "alone" in params else "innocent"
    (run_id,) = installation.launch(1, name, **params)
    with installation.worker("first") as first:
        wait_for(lambda: _in_second_step(installation) == 1, what="the second step")
        kill(first)
    return run_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("exit", "exit code 3"),
        ("exit-0", "exit code 0"),
        ("crash", "signal 11 (SIGSEGV)"),
    ],
)
def test_the_message_of_the_run_states_how_its_process_ended(
    how: str, cause: str, tmp_path: Path
) -> None:
    installation = make(tmp_path, MAX_RECOVERIES="1")
    go = tmp_path / "go"
    _suspect(installation, tmp_path, how=how, alone=str(go))
    go.touch()
    with installation.worker("second") as second:
        report = wait_until_ended(installation)
        assert second.poll() is None
    (run,) = report["runs"]
    assert run["status"] == "failed"
    expected = f"node “end_process” ended with {cause} once; peak memory "
    assert expected in run["error_message"]
    logged = "SELECT message FROM workflows_logline WHERE attempt = 2 ORDER BY number"
    first, last = (line for (line,) in installation.ask(logged))
    assert first.startswith("Executed in a separate process because")
    assert f"ended with {cause}" in last


@pytest.mark.slow
def test_a_suspect_that_exceeds_its_memory_fails_by_itself(tmp_path: Path) -> None:
    installation = make(tmp_path, SUSPECT_MEMORY_MB="500")
    go = tmp_path / "go"
    _suspect(installation, tmp_path, how="memory", alone=str(go))
    go.touch()
    with installation.worker("second") as second:
        report = wait_until_ended(installation)
        assert second.poll() is None
    (run,) = report["runs"]
    assert run["status"] == "failed"
    assert "MemoryError" in run["error_message"]


@pytest.mark.slow
def test_a_draining_worker_releases_the_run_of_its_child_process(
    tmp_path: Path,
) -> None:
    installation = make(tmp_path, DRAIN_SECONDS="0.2")
    hold = tmp_path / "hold"
    run_id = _suspect(installation, tmp_path, hold=str(hold))
    with installation.worker("second") as second:
        started = (
            "SELECT COUNT(*) FROM workflows_run"
            " WHERE attempt = 2 AND current_stage IS NOT NULL"
        )
        wait_for(lambda: installation.ask(started) == [(1,)], what="the child")
        second.terminate()
        assert second.wait(60) == 0
    report = installation.drive("report")
    (run,) = report["runs"]
    assert (run["status"], run["recoveries"]) == ("pending", 0)
    assert [a["outcome"] for a in report["attempts"]] == ["lost", "released"]
    hold.touch()
    with installation.worker("third"):
        report = wait_until_ended(installation)
    (run,) = report["runs"]
    assert (run["id"], run["status"], run["recoveries"]) == (run_id, "completed", 0)
    pids = report["results"][run_id]["pids"]
    assert len(set(pids)) == 3, "the first worker, the child, and the third worker"
