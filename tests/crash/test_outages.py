"""Outages of PostgreSQL or Redis, and a read-only database: nothing is lost or duplicated."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.crash.histories import check_history, run_of, wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.crash.visitor import Refused, Visitor
from tests.support.servers import (
    OwnPostgres,
    OwnRedis,
    RunningServer,
    fill_migrated,
    running_server,
)

pytestmark = pytest.mark.crash

# A worker that does not renew its lease for this time is considered lost; longer than a
# busy machine delays a process.
LEASE_SECONDS = 3.0
ROUNDS = 2


@pytest.fixture
def installation(
    tmp_path: Path, own_postgres: OwnPostgres, own_redis: OwnRedis
) -> Installation:
    """Provide an installation on servers that the test can stop."""
    installation = Installation(
        tmp_path,
        database=own_postgres.url,
        redis=own_redis.url,
        LEASE_SECONDS=str(LEASE_SECONDS),
        HEARTBEAT_SECONDS="0.5",
    )
    fill_migrated(own_postgres.url)
    installation.manage("migrate")
    return installation


@pytest.fixture
def server(installation: Installation) -> Iterator[RunningServer]:
    """Provide a web process of the installation."""
    with running_server(installation.data_dir, **installation.settings) as server:
        yield server


@pytest.fixture
def visitor(server: RunningServer) -> Iterator[Visitor]:
    """Provide a signed-in visitor."""
    with Visitor(server.url) as visitor:
        yield visitor


def readiness(server: RunningServer) -> tuple[int, dict[str, Any]]:
    """Return status and findings of /health/ready."""
    with Visitor(server.url, sign_in=False) as probe:
        answer = probe.get("/health/ready")
    return answer.status, json.loads(answer.text)["checks"]


def is_ready(server: RunningServer) -> bool:
    """Return whether all parts are ready."""
    return readiness(server)[0] == 200


def is_unready_because(server: RunningServer, part: str, words: str) -> bool:
    """Return whether a part is not ready and its reason contains the text."""
    status, checks = readiness(server)
    return status == 503 and not checks[part]["ok"] and words in checks[part]["message"]


def for_longer_than_a_lease(moment: float) -> bool:
    """Return whether more than the duration of a lease has passed."""
    return time.monotonic() > moment + LEASE_SECONDS * 1.5


def _log(installation: Installation, server: RunningServer) -> str:
    """Return the output of all processes."""
    return installation.logs() + server.log.read_text()


def check_reported_once(log: str, *, processes: int) -> None:
    """Assert that each process logged the start and the end of the outage, and no more."""
    assert "Traceback" not in log
    assert log.count("Database unavailable") == processes
    assert log.count("Database available again") == processes


def check_visitor_messages(
    visitor: Visitor, page: str, form: Mapping[str, str]
) -> None:
    """Assert that pages, actions on a page and sockets report the outage."""
    answer = visitor.get(page)
    assert answer.status == 503
    assert "The database can’t be reached right now." in answer.text
    assert answer.headers["Retry-After"] == "5"
    answer = visitor.send(page + "cancel/", form, HX_Request="true")
    assert answer.status == 503
    assert 'hx-swap-oob="outerMorph"' in answer.text
    assert "Your request may have been accepted." in answer.text
    assert visitor.get("/health/live").status == 200
    with pytest.raises(Refused, match="403"):
        visitor.open_socket(f"/ws{page}")


@pytest.mark.slow
def test_while_postgresql_is_unavailable_processes_wait_and_nothing_is_lost_or_duplicated(
    installation: Installation,
    server: RunningServer,
    visitor: Visitor,
    own_postgres: OwnPostgres,
    tmp_path: Path,
) -> None:
    hold = tmp_path / "hold"
    runs = installation.launch(10, rounds=ROUNDS, hold=str(hold))
    page = f"/runs/{runs[0]}/"
    with ExitStack() as stack:
        workers = [stack.enter_context(installation.worker(name)) for name in "ab"]
        socket = stack.enter_context(visitor.open_socket(f"/ws{page}"))
        assert "run-status" in str(socket.next())
        wait_for(lambda: len(installation.traces()) == 20, what="nodes to be held")

        form = visitor.form_of("/workflows/count/")

        own_postgres.stop()
        stopped = time.monotonic()
        hold.touch()  # nodes end now, but their results cannot be stored
        assert is_unready_because(server, "database", "cannot be reached")
        check_visitor_messages(visitor, page, form)
        wait_for(partial(for_longer_than_a_lease, stopped), what="leases to run out")
        assert [worker.poll() for worker in workers] == [None, None]
        assert server.process.poll() is None

        own_postgres.start()
        report = wait_until_ended(installation)
        wait_for(partial(is_ready, server), what="the green light")
        assert visitor.get(page).status == 200
        with visitor.open_socket(f"/ws{page}") as again:
            assert 'data-status="completed"' in str(again.next())
        wait_for(
            lambda: (
                _log(installation, server).count("Database available again")
                > len(workers)
            ),
            what="the word of each process that the database is back",
        )
    check_history(report, ROUNDS)
    assert set(Counter(installation.traces()).values()) == {1}, report["attempts"]
    assert {attempt["number"] for attempt in report["attempts"]} == {1}
    check_reported_once(_log(installation, server), processes=len(workers) + 1)


@pytest.mark.slow
def test_a_worker_stops_on_request_while_postgresql_is_unavailable(
    tmp_path: Path, own_postgres: OwnPostgres, own_redis: OwnRedis
) -> None:
    installation = Installation(
        tmp_path, database=own_postgres.url, redis=own_redis.url, DRAIN_SECONDS="0.1"
    )
    fill_migrated(own_postgres.url)
    installation.manage("migrate")
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(rounds=ROUNDS, hold=str(hold))
    with installation.worker("first") as first:
        wait_for(lambda: len(installation.traces()) == 2, what="a node to be held")
        own_postgres.stop()
        first.terminate()
        assert first.wait(30) == 0
    assert "its lease will expire" in installation.logs()
    assert "Traceback" not in installation.logs()
    own_postgres.start()
    hold.touch()
    with installation.worker("second"):
        report = wait_until_ended(installation)
    check_history(report, ROUNDS)
    assert Counter(installation.traces()).pop(f"{run_id}/work/2") == 2


@pytest.mark.slow
def test_while_redis_is_unavailable_launches_are_accepted_and_executed(
    installation: Installation,
    server: RunningServer,
    visitor: Visitor,
    own_redis: OwnRedis,
) -> None:
    with installation.worker("only"):
        wait_for(partial(is_ready, server), what="the green light")
        (before,) = installation.launch(rounds=ROUNDS)
        own_redis.stop()
        with pytest.raises(Refused, match="403"):
            visitor.open_socket(f"/ws/runs/{before}/")
        assert is_unready_because(server, "messages", "cannot be reached")
        form = {"trace": str(installation.trace), "rounds": str(ROUNDS), "seconds": "0"}
        launched = visitor.post("/workflows/count/", form)
        assert launched.status == 302, launched.text
        report = wait_until_ended(installation)
        assert len(report["runs"]) == 2
        assert visitor.get(launched.headers["Location"]).status == 200

        own_redis.start()
        wait_for(partial(is_ready, server), what="the green light")
        with visitor.open_socket(f"/ws/runs/{before}/") as again:
            assert 'data-status="completed"' in str(again.next())
    check_history(report, ROUNDS)
    assert set(Counter(installation.traces()).values()) == {1}
    log = _log(installation, server)
    assert "Traceback" not in log
    assert log.count("Channel layer unavailable") == 2, "logged once per process"


@pytest.mark.slow
def test_a_worker_subscribes_again_after_redis_lost_its_data(
    tmp_path: Path, migrated_url: str, own_redis: OwnRedis
) -> None:
    # Polling is disabled: only a notification can start the second run.
    installation = Installation(
        tmp_path,
        database=migrated_url,
        redis=own_redis.url,
        POLL_INTERVAL_SECONDS="3000",
    )
    with installation.worker("only"):
        installation.launch(rounds=ROUNDS)
        wait_until_ended(installation)
        own_redis.stop()
        own_redis.start()
        wait_for(
            lambda: "Channel layer available again" in installation.logs(),
            what="the worker to listen again",
        )
        installation.launch(rounds=ROUNDS)
        check_history(wait_until_ended(installation), ROUNDS)


@pytest.mark.slow
def test_runs_stop_while_the_database_is_read_only_and_continue_afterwards(
    installation: Installation,
    server: RunningServer,
    visitor: Visitor,
    own_postgres: OwnPostgres,
    tmp_path: Path,
) -> None:
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(rounds=ROUNDS, hold=str(hold))
    with installation.worker("only"):
        wait_for(lambda: len(installation.traces()) == 2, what="a node to be held")
        own_postgres.set("default_transaction_read_only", "on")
        wait_for(
            partial(is_unready_because, server, "database", "refuses writes"),
            what="a red light",
        )
        assert visitor.get(f"/runs/{run_id}/").status == 200, "pages can be read"
        form = {"trace": str(installation.trace), "rounds": "1", "seconds": "0"}
        refused = visitor.post("/workflows/count/", form)
        assert refused.status == 503
        assert "The database rejects changes" in refused.text
        hold.touch()
        wait_for(
            lambda: "read-only transaction" in installation.logs(),
            what="the worker to say why the run stopped",
        )
        assert run_of(installation, run_id)["status"] == "running"

        own_postgres.set("default_transaction_read_only", "off")
        report = wait_until_ended(installation)
        wait_for(partial(is_ready, server), what="the green light")
    check_history(report, ROUNDS)
    assert len(report["runs"]) == 1, "the refused launch left a run"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory on a separate, small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("Only root may mount a small disk to fill.")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Fill the disk; return the file that uses the space."""
    filler = disk / "rubbish"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1_000_000))
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0")
    return filler


@pytest.mark.slow
def test_runs_stop_while_the_disk_is_full_and_continue_afterwards(
    small_disk: Path, tmp_path: Path
) -> None:
    installation = Installation(small_disk, LEASE_SECONDS="1", HEARTBEAT_SECONDS="0.25")
    installation.trace = tmp_path / "trace"
    hold = tmp_path / "hold"
    with running_server(
        installation.data_dir, log=tmp_path / "serve.log", **installation.settings
    ) as server:
        (run_id,) = installation.launch(rounds=ROUNDS, hold=str(hold))
        wait_for(lambda: len(installation.traces()) == 2, what="a node to be held")
        filler = fill(small_disk)
        assert is_unready_because(server, "disk", "Make room.")
        hold.touch()
        wait_for(
            lambda: "database or disk is full" in server.log.read_text(),
            what="the server to say why the run stopped",
        )
        with Visitor(server.url, sign_in=False) as visitor:
            assert visitor.get("/health/live").status == 200

        filler.unlink()
        report = wait_for(
            partial(ended_or_failed, installation), what="the run to go on or to stop"
        )
        if run_of(installation, run_id)["status"] == "failed":
            installation.drive("act", do="resume", run=run_id)
            report = wait_until_ended(installation)
    check_history(report, ROUNDS)


def ended_or_failed(installation: Installation) -> dict[str, Any] | None:
    """Return the report when no run is active, else None."""
    report: dict[str, Any] = installation.drive("report")
    over = {"completed", "failed"}
    return report if all(run["status"] in over for run in report["runs"]) else None
