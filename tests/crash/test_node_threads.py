"""Threads of nodes in real processes: what they took is given back, whatever they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.crash.greedy.workflows import ITEMS
from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.support.servers import free_port, running_server

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]


def greedy(home: Path, **settings: Any) -> Installation:
    return Installation(home, WORKFLOW_APPS="tests.crash.greedy", **settings)


@pytest.fixture
def installation(
    tmp_path: Path, migrated_url: str, redis_url: str
) -> Iterator[Installation]:
    """Give an installation whose pages and one worker are separate processes."""
    installation = greedy(
        tmp_path, database=migrated_url, redis=redis_url, DATABASE_POOL_SIZE="10"
    )
    with ExitStack() as stack:
        stack.enter_context(
            running_server(
                installation.data_dir,
                log=tmp_path / "serve.log",
                **installation.settings,
            )
        )
        stack.enter_context(installation.worker("only"))
        yield installation


def results_of(installation: Installation, *runs: str) -> list[Any]:
    """Return the results of runs once all have ended, in the order of the runs."""
    report = wait_until_ended(installation)
    status = {run["id"]: run["status"] for run in report["runs"]}
    errors = [run["error_message"] for run in report["runs"] if run["error_message"]]
    assert {status[run] for run in runs} == {"completed"}, errors
    return [report["results"][run] for run in runs]


def test_nodes_that_use_the_orm_give_their_connections_back(
    installation: Installation,
) -> None:
    crowd = installation.launch(4, "crowd")
    for result in results_of(installation, *crowd):
        assert result["counts"] == [1] * ITEMS

    # connections that the server ended while nobody used them
    kinds = installation.launch(1, "every-kind")
    results_of(installation, *kinds)
    installation.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    again = installation.launch(4, "every-kind")
    for result in results_of(installation, *again):
        assert result["counts"] == [1] * 5

    # a transaction that a node leaves open is not the next one's
    (left,) = installation.launch(1, "left-open")
    (result,) = results_of(installation, left)
    assert (result["autocommit"], result["groups"]) == ([True, True], 0)
    open_transactions = (
        "SELECT COUNT(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    wait_for(
        lambda: installation.ask(open_transactions) == [(0,)],
        what="no transaction to be open",
    )
    log = installation.logs()
    assert log.count("left a transaction open") == 2
    assert "couldn't get a connection" not in log


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_process_told_to_stop_ends_and_releases_runs_whose_nodes_never_return(
    tmp_path: Path, command: str
) -> None:
    installation = greedy(tmp_path, DRAIN_SECONDS="0.2")
    traces = [tmp_path / "thread", tmp_path / "task"]
    never = str(tmp_path / "never")
    runs = [
        *installation.launch(1, "stuck", trace=str(traces[0]), hold=never),
        *installation.launch(1, "swallowing", trace=str(traces[1]), hold=never),
    ]
    arguments = ["--port", str(free_port())] if command == "serve" else []
    with installation.process(command, *arguments) as process:
        wait_for(lambda: all(trace.exists() for trace in traces), what="nodes to begin")
        process.terminate()
        assert process.wait(40) == 0, installation.logs()
    report = installation.drive("report")
    assert {run["id"]: run["status"] for run in report["runs"]} == dict.fromkeys(
        runs, "pending"
    ), installation.logs()
    assert {attempt["outcome"] for attempt in report["attempts"]} == {"released"}
    assert {run["recoveries"] for run in report["runs"]} == {0}
    assert [worker["running"] for worker in report["workers"]] == [0]
    assert report["workers"][0]["stopped_at"] is not None
    assert report["not_as_recorded"] == []


def test_a_node_that_blocks_the_event_loop_costs_no_run_its_worker_and_is_named(
    tmp_path: Path,
) -> None:
    installation = greedy(tmp_path)  # with leases of two seconds
    trace, hold = tmp_path / "trace", tmp_path / "hold"
    with installation.worker("first"):
        waits = {"trace": str(trace), "hold": str(hold)}
        (bystander,) = installation.launch(1, "stuck", **waits)
        wait_for(trace.exists, what="the other run's node to begin")
        (culprit,) = installation.launch(1, "blocking", seconds=6.0)
        with installation.worker("second"):
            wait_for(
                lambda: (
                    "its event loop is blocked by node slow_blocking of run"
                    in installation.logs()
                ),
                what="the worker to say what blocks it",
            )
            hold.touch()
            report = wait_until_ended(installation)
    assert {run["id"] for run in report["runs"]} == {bystander, culprit}
    assert {run["status"] for run in report["runs"]} == {"completed"}
    assert {run["recoveries"] for run in report["runs"]} == {0}
    assert {attempt["number"] for attempt in report["attempts"]} == {1}
    lines = dict(installation.ask("SELECT run_id, message FROM workflows_logline"))
    named = (
        r"The event loop of worker first was blocked for \d+ s in node slow_blocking, "
    )
    assert re.match(named, lines[culprit.replace("-", "")])
    assert lines[bystander.replace("-", "")].endswith(
        "by other code: this run had to wait."
    )
