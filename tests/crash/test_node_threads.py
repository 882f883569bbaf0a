"""Threads of nodes in real processes return their connections and end with their runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.crash.greedy.workflows import ITEMS, LATE_ITEMS, LATE_SECONDS
from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.crash.visitor import Visitor
from tests.support.servers import free_port, running_server
from workflows.engine.threads import THREADS

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(300)]


def greedy(home: Path, **settings: Any) -> Installation:
    return Installation(home, WORKFLOW_APPS="tests.crash.greedy", **settings)


@pytest.fixture
def installation(
    tmp_path: Path, migrated_url: str, redis_url: str
) -> Iterator[Installation]:
    """Provide an installation with a web process and a worker."""
    installation = greedy(
        tmp_path, database=migrated_url, redis=redis_url, DATABASE_POOL_SIZE="10"
    )
    with ExitStack() as stack:
        server = stack.enter_context(
            running_server(
                installation.data_dir,
                log=tmp_path / "serve.log",
                **installation.settings,
            )
        )
        installation.url = server.url
        stack.enter_context(installation.worker("only"))
        yield installation


def results_of(installation: Installation, *runs: str) -> list[Any]:
    """Return the results of runs once all have ended, in the order of the runs."""
    report = wait_until_ended(installation)
    status = {run["id"]: run["status"] for run in report["runs"]}
    errors = [run["error_message"] for run in report["runs"] if run["error_message"]]
    assert {status[run] for run in runs} == {"completed"}, errors
    return [report["results"][run] for run in runs]


def test_nodes_that_use_the_orm_return_their_connections(
    installation: Installation,
) -> None:
    crowd = installation.launch(4, "crowd")
    for result in results_of(installation, *crowd):
        assert result["counts"] == [1] * ITEMS

    # The server closes idle connections.
    kinds = installation.launch(1, "every-kind")
    results_of(installation, *kinds)
    installation.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    again = installation.launch(4, "every-kind")
    for result in results_of(installation, *again):
        assert result["counts"] == [1] * 5

    # A transaction that a node leaves open is not visible to the next node.
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


def test_items_that_time_out_occupy_no_thread_of_other_runs_and_none_starts_after_the_end(
    installation: Installation, tmp_path: Path
) -> None:
    begun, hold = tmp_path / "begun", tmp_path / "hold"

    def lines() -> list[str]:
        return begun.read_text().splitlines() if begun.exists() else []

    full = tmp_path / "full"
    (other,) = installation.launch(1, "patient", hold=str(full))
    waiting = (
        "SELECT COUNT(*) FROM workflows_run"  # noqa: S608 - an id of the test
        f" WHERE id = '{other}' AND current_stage LIKE '%waits_for_thread%'"
    )
    with Visitor(installation.url) as visitor:
        (late,) = installation.launch(1, "late", trace=str(begun), hold=str(hold))
        wait_for(lambda: len(lines()) >= THREADS, what="the threads to be taken")
        full.touch()
        wait_for(
            lambda: installation.ask(waiting) == [(1,)], what="the other run to wait"
        )
        page = visitor.read(f"/runs/{other}/")
    assert "Waiting for a thread" in page

    # Abandoned threads are still running, and the other run has its own thread.
    report = wait_until_ended(installation)
    ended_at = time.time()
    runs = {run["id"]: run for run in report["runs"]}
    assert runs[other]["status"] == "completed"
    assert runs[late]["status"] == "failed"
    message = runs[late]["error_message"]
    assert f"{LATE_ITEMS} items failed" in message
    assert f"did not finish within {LATE_SECONDS:g} s" in message
    results_of(installation, *installation.launch(1, "every-kind"))

    hold.touch()  # frees all threads; withdrawn items do not start
    time.sleep(1.5)
    assert all(float(line.split()[0]) <= ended_at for line in lines())
    numbers = [line.split()[1] for line in lines()]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_stopped_process_exits_and_releases_runs_whose_nodes_never_return(
    tmp_path: Path, command: str
) -> None:
    installation = greedy(tmp_path, DRAIN_SECONDS="0.2")
    traces = [tmp_path / "thread", tmp_path / "task", tmp_path / "loop"]
    never = str(tmp_path / "never")
    runs = [
        *installation.launch(1, "stuck", trace=str(traces[0]), hold=never),
        *installation.launch(1, "swallowing", trace=str(traces[1]), hold=never),
    ]
    arguments = ["--port", str(free_port())] if command == "serve" else []
    with installation.process(command, *arguments) as process:
        wait_for(
            lambda: all(trace.exists() for trace in traces[:2]), what="nodes to begin"
        )
        runs += installation.launch(
            1, "blocking-until", trace=str(traces[2]), hold=never
        )
        wait_for(traces[2].exists, what="the loop to be blocked")
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
    named = r"slow_blocking held the event loop for \d[\d.]* s: make it a plain `def`"
    assert re.match(named, lines[culprit.replace("-", "")])
    assert lines[bystander.replace("-", "")].endswith(
        "by code of another run: this run had to wait."
    )
