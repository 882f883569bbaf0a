"""PostgreSQL loses commits under live workers: promotion and point-in-time restore."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest

from tests.crash.histories import check_history, wait_until_ended
from tests.crash.processes import Installation, wait_for
from tests.crash.visitor import Visitor
from tests.support.failover import Loss, PointInTimeRestore, Promotion
from tests.support.servers import (
    OwnPostgres,
    OwnRedis,
    fill_migrated,
    running_server,
)

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS, SHORT_ROUNDS = 60, 2
REACHED = 5  # steps, at least, when the commits are lost
REWOUND = re.compile(
    r"Run (\S+): The database went back from step (\d+) to step 1;"
    r" the steps in between run again\."
)


@pytest.fixture(params=[Promotion, PointInTimeRestore])
def loss(request: pytest.FixtureRequest) -> Iterator[Loss]:
    """Provide a PostgreSQL server that loses commits on request."""
    with tempfile.TemporaryDirectory(prefix="pg-") as place:
        home = Path(place)
        loss = request.param(OwnPostgres(home / "data"), home)
        servers = [loss.primary]
        try:
            yield loss
        finally:
            servers += [one for one in vars(loss).values() if one is not loss.primary]
            for server in servers:
                if hasattr(server, "stop"):
                    with suppress(CalledProcessError):  # it is stopped already
                        server.stop()


def steps_of(installation: Installation) -> Mapping[str, int]:
    """Return the number of completed steps of each active run."""
    rows = installation.ask(
        "SELECT id::text, sequence FROM workflows_run WHERE status = 'running'"
    )
    return dict(rows)


def of_runs(report: dict[str, Any], run_ids: list[str]) -> dict[str, Any]:
    """Return the part of a report for the given runs."""
    part = dict(report)
    part["runs"] = [run for run in report["runs"] if run["id"] in run_ids]
    for name in ("stages", "decisions", "checkpoints", "attempts"):
        part[name] = [row for row in report[name] if row["run_id"] in run_ids]
    return part


def test_runs_continue_from_the_remaining_rows_after_a_loss_of_commits(
    loss: Loss, own_redis: OwnRedis, tmp_path: Path
) -> None:
    installation = Installation(
        tmp_path,
        database=loss.primary.url,
        redis=own_redis.url,
        LEASE_SECONDS="3",
        HEARTBEAT_SECONDS="0.5",
    )
    fill_migrated(loss.primary.url)
    installation.manage("migrate")
    hold = tmp_path / "hold"
    with ExitStack() as stack:
        server = stack.enter_context(
            running_server(installation.data_dir, **installation.settings)
        )
        for name in "ab":
            stack.enter_context(installation.worker(name))
        long = installation.launch(4, rounds=ROUNDS, hold=str(hold))
        (short,) = installation.launch(rounds=SHORT_ROUNDS, hold=str(hold))
        wait_for(lambda: len(installation.traces()) == 10, what="nodes to be held")

        loss.mark()
        lost = installation.launch(2, rounds=ROUNDS, hold=str(hold))
        proceed(installation, hold, {*long, *lost})

        loss.happen()
        hold.touch()
        report = wait_until_ended(installation, seconds=120)
        with Visitor(server.url) as visitor:
            page = visitor.get(f"/runs/{long[0]}/").text
        log = installation.logs() + server.log.read_text()

    reached = read_log(log, lost)
    assert set(reached) == set(long)
    assert min(reached.values()) > REACHED
    assert f"The database went back from step {reached[long[0]]} to step 1" in page
    assert {run["id"] for run in report["runs"]} == {*long, short}
    check_history(of_runs(report, long), ROUNDS)
    check_history(of_runs(report, [short]), SHORT_ROUNDS)
    assert {r["recoveries"] for r in report["runs"] if r["id"] in long} == {0}
    check_ledger(installation, reached)


def proceed(installation: Installation, hold: Path, runs: set[str]) -> None:
    """Let the runs execute some steps and the short one end, then hold them again."""
    hold.touch()
    wait_for(
        lambda: (
            set(steps_of(installation)) == runs
            and min(steps_of(installation).values()) > REACHED
        ),
        what="steps that will be lost",
    )
    hold.unlink()


def read_log(log: str, lost: list[str]) -> Mapping[str, int]:
    """Return the step to which each run was rewound; assert one line per run."""
    lines = REWOUND.findall(log)
    assert len({run for run, _ in lines}) == len(lines)
    for run in lost:
        assert log.count(f"Run {run} does not exist any more") == 1
    return {run: int(step) for run, step in lines}


def check_ledger(installation: Installation, reached: Mapping[str, int]) -> None:
    """Assert that exactly the lost steps and those in progress were executed again."""
    times = Counter(installation.traces())
    for run, step in reached.items():
        by_step = {
            int(key.rpartition("/")[2]): number
            for key, number in times.items()
            if key.startswith(run)
        }
        ran = [by_step[number] for number in range(1, ROUNDS + 3)]
        assert ran == [1] + [2] * step + [1] * (ROUNDS + 1 - step)
