"""Workers that are killed while runs wait for messages, or work within a limit."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.crash.app.waits import AT_ONCE
from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, kill, wait_for

pytestmark = pytest.mark.crash

RUNS = 4
POSTS = 4


def lines(installation: Installation, word: str) -> list[list[str]]:
    text = installation.trace.read_text() if installation.trace.exists() else ""
    return [line.split() for line in text.splitlines() if line.startswith(word)]


def count(installation: Installation, condition: str) -> int:
    query = f"SELECT COUNT(*) FROM workflows_run WHERE {condition}"  # noqa: S608 - of this module
    return int(installation.ask(query)[0][0])


@pytest.mark.slow
def test_a_message_is_taken_by_exactly_one_wait_of_a_run_although_workers_are_killed(
    installation: Installation,
) -> None:
    keys = [f"k{number}" for number in range(RUNS)]
    runs = {key: installation.launch(name="numbers", key=key)[0] for key in keys}
    with installation.worker("first") as first, installation.worker("second"):
        wait_for(
            lambda: count(installation, "status = 'waiting'") == RUNS,
            what="all runs to wait",
        )
        with ThreadPoolExecutor(2) as pool:
            halves = [
                [(key, number) for key in half for number in (1, 2)]
                for half in (keys[::2], keys[1::2])
            ]
            sent = [
                pool.submit(installation.drive, "send_numbers", messages=half)
                for half in halves
            ]
            wait_for(
                lambda: count(installation, "sequence > 0") > 0,
                what="a message to move a run",
            )
            kill(first)
            for one in sent:
                one.result()
        with installation.worker("third"):
            report = wait_until_ended(installation)
    for key in keys:
        result = report["results"][runs[key]]
        assert [result[name]["number"] for name in ("first", "second")] == [1, 2]
    taken = installation.ask(
        "SELECT message_id FROM workflows_eventwait WHERE status = 'received'"
    )
    assert len(taken) == len(set(taken)) == 2 * RUNS


@pytest.mark.slow
def test_an_address_works_once_although_the_worker_that_gave_it_away_is_killed(
    installation: Installation, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(name="asking", hold=str(hold))
    with installation.worker("first") as first:
        wait_for(lambda: lines(installation, "asked"), what="the request")
        kill(first)
    url = lines(installation, "asked")[0][1]
    with ThreadPoolExecutor(POSTS) as pool:
        posts = [
            pool.submit(installation.drive, "post", url=url, number=number)
            for number in range(POSTS)
        ]
        answers: list[Any] = [one.result() for one in posts]
    hold.touch()
    accepted = [one["accepted"] for one in answers if "accepted" in one]
    assert len(accepted) == 1, answers
    with installation.worker("second"):
        report = wait_until_ended(installation)
    assert report["results"][run_id]["receipt"] == {"number": accepted[0]}
    assert len(lines(installation, "asked")) == 1, "what has arrived is not asked again"
    late: Any = installation.drive("post", url=url, number=9)
    assert "refused" in late


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "runs"), [(3, 9), (10, 40)])
def test_a_limit_holds_under_several_workers_of_which_one_is_killed(
    installation: Installation, workers: int, runs: int
) -> None:
    installation.launch(count=runs, name="limited", seconds=0.3)
    with ExitStack() as stack:
        started = [
            stack.enter_context(installation.worker(f"worker-{number}"))
            for number in range(workers)
        ]
        wait_for(lambda: lines(installation, "began"), what="the first run to begin")
        kill(started[0])
        killed_at = time.monotonic()  # of all processes of the machine
        report = wait_until_ended(installation, seconds=240)
    assert {run["status"] for run in report["runs"]} == {"completed"}
    began, ended = lines(installation, "began"), lines(installation, "ended")
    assert len(ended) == runs
    # what the killed process had begun ended with it
    dead = str(started[0].pid)
    left = Counter(line[-2] for line in began) - Counter(line[-2] for line in ended)
    assert set(left) <= {dead}
    changes = [
        *((float(line[-1]), 1) for line in began),
        *((float(line[-1]), -1) for line in ended),
        *((killed_at, -1) for _ in range(left[dead])),
    ]
    at_once = list(accumulate(change for _, change in sorted(changes)))
    assert max(at_once) <= AT_ONCE, at_once
