"""Workers that are killed, paused or stopped during runs."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.crash.histories import check_history, run_of, wait_until_ended
from tests.crash.processes import Installation, kill, kill_until_ended, wait_for

pytestmark = pytest.mark.crash


@pytest.mark.slow
def test_a_killed_workers_run_continues_elsewhere_from_its_last_step(
    installation: Installation, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(rounds=2, hold=str(hold))
    with installation.worker("first") as first:
        wait_for(
            lambda: len(installation.traces()) == 2, what="the second node to begin"
        )
        kill(first)
    stages = installation.drive("report")["stages"]
    assert [(s["node_name"], s["sequence"], s["status"]) for s in stages] == [
        ("begin", 1, "completed"),
        ("work", 2, "started"),
    ], "the row shows the interrupted node"
    hold.touch()
    with installation.worker("second"):
        report = wait_until_ended(installation)
    assert [run["status"] for run in report["runs"]] == ["completed"]
    ran = Counter(installation.traces())
    assert ran.pop(f"{run_id}/work/2") == 2, "the interrupted node runs again"
    assert set(ran.values()) == {1}, "no finished node does"
    assert [(a["worker"], a["outcome"]) for a in report["attempts"]] == [
        ("first", "lost"),
        ("second", "released"),  # by its child process, after the step
        ("second", "completed"),
    ]
    interrupted = [s for s in report["stages"] if s["status"] == "interrupted"]
    assert [(s["attempt"], s["sequence"]) for s in interrupted] == [(1, 2)]
    assert report["results"][run_id]["steps"] == [
        f"{run_id}/begin/1",
        f"{run_id}/work/2",
        f"{run_id}/work/3",
        f"{run_id}/finish/4",
    ]


def test_a_paused_worker_that_lost_its_lease_writes_nothing_more(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    # Not on SQLite: a process that is stopped in a transaction holds the write lock of
    # the file, so that no other process can recover its runs.
    installation = Installation(tmp_path, database=migrated_url, redis=redis_url)
    hold = tmp_path / "hold"
    installation.launch(rounds=2, hold=str(hold))
    with installation.worker("sleeper") as sleeper:
        wait_for(
            lambda: len(installation.traces()) == 2, what="the second node to begin"
        )
        sleeper.send_signal(signal.SIGSTOP)
        with installation.worker("heir"):
            wait_for(
                lambda: (
                    installation.ask("SELECT worker FROM workflows_run") == [("heir",)]
                ),
                what="another worker to take over",
            )
            hold.touch()
            report = wait_until_ended(installation)
            sleeper.send_signal(signal.SIGCONT)
            wait_for(
                lambda: "lost its lease" in installation.logs(),
                what="the sleeper to say so",
            )
    after = installation.drive("report")
    for table in ("runs", "stages", "decisions", "checkpoints", "attempts"):
        assert after[table] == report[table]
    assert report["attempts"][-1]["worker"] == "heir"


@pytest.mark.slow
def test_after_sigterm_nodes_finish_and_runs_are_released(
    installation: Installation, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(rounds=2, hold=str(hold))
    with installation.worker("first") as first:
        wait_for(
            lambda: len(installation.traces()) == 2, what="the second node to begin"
        )
        first.terminate()
        wait_for(lambda: "drains" in installation.logs(), what="the worker to drain")
        hold.touch()
        assert first.wait(timeout=30) == 0
    run = run_of(installation, run_id)
    assert (run["status"], run["sequence"], run["recoveries"]) == ("pending", 2, 0)
    with installation.worker("second"):
        report = wait_until_ended(installation)
    assert set(Counter(installation.traces()).values()) == {1}
    assert [a["outcome"] for a in report["attempts"]] == ["released", "completed"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_is_lost_with_its_workers_fails_in_the_end(tmp_path: Path) -> None:
    installation = Installation(tmp_path, MAX_RECOVERIES="1", LEASE_SECONDS="1")
    installation.launch(rounds=1, hold=str(tmp_path / "never"))
    processes = []
    for name in ("first", "second", "third"):
        before = len(installation.traces())
        with installation.worker(name) as worker:
            wait_for(
                partial(_worked_since, installation, before), what="the node to begin"
            )
            processes.append((worker.pid, installation.working()))
            kill(worker)
        wait_for(partial(_is_gone, processes[-1][1]), what="the end of its child")
    assert [node == worker for worker, node in processes] == [True, False, False]
    with installation.worker("fourth"):
        report = wait_until_ended(installation)
    (run,) = report["runs"]
    assert run["status"] == "failed"
    assert (
        "was lost together with its worker once, the last time third"
        in run["error_message"]
    )


@pytest.mark.slow
def test_a_killed_parallel_node_runs_only_what_had_not_finished(
    installation: Installation, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    (run_id,) = installation.launch(name="spread", hold=str(hold))
    with installation.worker("first") as first:
        wait_for(lambda: len(installation.traces()) == 6, what="the sixth item")
        wait_for(
            lambda: (
                installation.ask("SELECT COUNT(*) FROM workflows_stageitem") == [(5,)]
            ),
            what="the finished items to be kept",
        )
        kill(first)
    hold.touch()
    with installation.worker("second"):
        report = wait_until_ended(installation)
    ran = Counter(installation.traces())
    assert ran.pop(f"{run_id}/visits/1/5") == 2, "the interrupted item runs again"
    assert set(ran.values()) == {1}, "no finished item does"
    assert report["results"][run_id]["visited"] == [0, 10, 20, 30, 40, 50, 60, 70]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_survives_kills_at_every_commit_of_every_step(
    installation: Installation,
) -> None:
    # A worker commits a step together with the start of the next one, and the claim
    # records the start of the first: a worker killed after its second commit has
    # completed two steps.
    rounds = 4
    moments = [f"{when} {commit}" for commit in (1, 2) for when in ("before", "after")]
    (run_id,) = installation.launch(rounds=rounds)
    kills = kill_until_ended(installation, runs=1, moments=moments)
    assert kills > len(moments), "every moment at least once"
    report = wait_until_ended(installation)
    check_history(report, rounds)
    nodes = ("begin", *["work"] * rounds, "finish")
    recorded = Counter(
        s["node_name"] for s in report["stages"] if s["status"] == "completed"
    )
    assert recorded == Counter(nodes)
    ran = Counter(installation.traces())
    assert set(ran) == {f"{run_id}/{n}/{i}" for i, n in enumerate(nodes, 1)}
    assert max(ran.values()) > 1, "unrecorded steps run again with the same key"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_may_be_killed_at_every_boundary_of_a_failure_and_of_what_follows(
    installation: Installation,
) -> None:
    (run_id,) = installation.launch(name="saga")
    kills = kill_until_ended(installation, runs=1)
    assert kills > 2 * 5, "two kills for most of the seven nodes"
    report = wait_until_ended(installation)
    assert report["not_as_recorded"] == []
    (run,) = report["runs"]
    assert (run["status"], run["steps_undone"], run["steps_to_undo"]) == (
        "failed",
        2,
        2,
    )
    assert (
        run["error_message"] == "At “call_bank”: the node failed: no cover, no answer"
    )
    assert run["closing"] is None
    recorded = [
        (s["sequence"], s["node_name"], s["status"], s["undoes"])
        for s in report["stages"]
        if s["status"] in {"completed", "failed"}
    ]
    assert sorted(recorded) == [
        (1, "book", "completed", None),
        (2, "book", "completed", None),
        (3, "pay", "failed", None),
        (4, "call_bank", "failed", None),
        (5, "cancel", "completed", 2),
        (6, "cancel", "completed", 1),
        (7, "notify", "completed", None),
    ]
    ran = Counter(installation.traces())
    assert set(ran) == {
        f"{run_id}/{node}/{sequence}" for sequence, node, _, _ in recorded
    }
    assert sum(ran.values()) >= kills, "what was not recorded runs again, with its key"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_step_launches_one_run_over_kills_at_every_boundary(
    installation: Installation,
) -> None:
    """Two runs of a loop, each of which launches one: four runs, whatever is killed."""
    installation.launch(name="loop", rounds=2)
    kills = kill_until_ended(installation, runs=4)
    assert kills > 2 * 5
    report = wait_until_ended(installation)
    assert [run["status"] for run in report["runs"]] == ["completed"] * 4
    links = installation.ask(
        "SELECT kind, COUNT(DISTINCT origin_id) FROM workflows_runlink GROUP BY kind ORDER BY kind"
    )
    assert links == [("continue", 1), ("launch", 2)]
    started = [
        result["started"] for result in report["results"].values() if result["started"]
    ]
    launched = installation.ask(
        "SELECT run_id FROM workflows_runlink WHERE kind = 'launch'"
    )
    assert {UUID(one) for one in started} == {UUID(str(one)) for (one,) in launched}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_element_has_one_child_run_over_kills_at_every_boundary(
    installation: Installation,
) -> None:
    elements = 3
    (run_id,) = installation.launch(name="family", rounds=elements)
    kills = kill_until_ended(installation, runs=1 + elements)
    assert kills > 2 * elements
    report = wait_until_ended(installation)
    assert [run["status"] for run in report["runs"]] == ["completed"] * (1 + elements)
    results = report["results"][run_id]["children"]
    seconds = [result["params"]["seconds"] for result in results]
    assert seconds == [number / 1_000 for number in range(elements)]
    children = "SELECT COUNT(*), COUNT(DISTINCT child_id) FROM workflows_childitem"
    assert installation.ask(children) == [(elements, elements)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_votes_survive_kills_of_voters_and_workers_at_every_commit(
    installation: Installation,
) -> None:
    (run_id,) = installation.launch(name="decided")
    is_waiting = "SELECT COUNT(*) FROM workflows_run WHERE status = 'waiting'"
    for moment in ("before 1", "after 1"):  # the pause and its approval
        with installation.worker(moment.replace(" ", "-"), KILL_AT=moment) as worker:
            assert worker.wait(60) == -signal.SIGKILL
    with installation.worker("third"):
        wait_for(lambda: installation.ask(is_waiting) == [(1,)], what="the run to wait")
    votes = "SELECT voter_name FROM workflows_approvalvote ORDER BY id"
    for name, kill_at in (
        ("ada", "before"),
        ("ada", "after"),
        ("ben", "before"),
        ("ben", "after"),
    ):
        before = installation.ask(votes)
        # killed: an error would be in the text
        with pytest.raises(AssertionError, match=r"^\s*$"):
            installation.drive("vote", run=run_id, name=name, kill=kill_at)
        added = [(name,)] if kill_at == "after" else []
        assert installation.ask(votes) == [*before, *added]
    assert installation.ask(is_waiting) == [(0,)], "the second vote resumes the run"
    for moment in ("before 1", "after 1"):
        with installation.worker(f"last-{moment[0]}", KILL_AT=moment) as worker:
            assert worker.wait(60) == -signal.SIGKILL
    with installation.worker("last"):
        report = wait_until_ended(installation)
    assert report["not_as_recorded"] == []
    assert [run["status"] for run in report["runs"]] == ["completed"]
    assert report["results"][run_id]["steps"] == ["ada", "ben"]
    completed = [s for s in report["stages"] if s["status"] == "completed"]
    assert [(s["sequence"], s["node_name"]) for s in completed] == [
        (1, "board"),
        (2, "close"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fork_is_made_once_and_ends_over_kills_at_every_commit(
    installation: Installation,
) -> None:
    (origin,) = installation.launch(rounds=2)
    with installation.worker("first"):
        wait_until_ended(installation)
    forks = "SELECT COUNT(*) FROM workflows_fork"
    for moment, number in (("before", 0), ("after", 1), ("after", 1)):
        # killed: an error would be in the text
        with pytest.raises(AssertionError, match=r"^\s*$"):
            installation.drive("fork", run=origin, step=2, kill=moment)
        assert installation.ask(forks) == [(number,)]
    fork = installation.drive("fork", run=origin, step=2)
    assert kill_until_ended(installation, runs=2) >= 2
    report = wait_until_ended(installation)
    assert report["not_as_recorded"] == []
    assert [run["status"] for run in report["runs"]] == ["completed"] * 2
    steps = [
        f"{origin}/begin/1",
        f"{fork}/work/2",
        f"{fork}/work/3",
        f"{fork}/finish/4",
    ]
    assert report["results"][fork]["steps"] == steps
    completed = [
        (s["sequence"], s["node_name"])
        for s in report["stages"]
        if s["status"] == "completed" and s["run_id"] == fork
    ]
    assert completed == [(1, "begin"), (2, "work"), (3, "work"), (4, "finish")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_may_be_killed_at_every_boundary_of_branches(
    installation: Installation,
) -> None:
    # The first commits of a worker record the start of the join and of the steps that are
    # left, those after them the end of a step, and of the join.
    (run_id,) = installation.launch(name="lanes")
    moments = [
        f"{when} {commit}" for commit in (2, 3, 4) for when in ("before", "after")
    ]
    kills = kill_until_ended(installation, runs=1, moments=moments)
    assert kills > len(moments), "every moment at least once"
    report = wait_until_ended(installation)
    (run,) = report["runs"]
    assert (run["status"], run["sequence"]) == ("completed", 5)
    keys = [
        f"{run_id}/{node}/{sequence}"
        for sequence, node in enumerate(
            ("left", "left_again", "right", "both", "finish"), 1
        )
    ]
    completed = sorted(
        (s["sequence"], s["node_name"])
        for s in report["stages"]
        if s["status"] == "completed"
    )
    assert [f"{run_id}/{node}/{step}" for step, node in completed] == keys
    assert report["results"][run_id]["joined"] == {
        "left": f"{keys[0]} {keys[1]}",
        "right": keys[2],
    }
    assert report["results"][run_id]["steps"] == [keys[4]]
    assert set(installation.traces()) == {*keys[:3], keys[4]}


@pytest.mark.slow
def test_a_bulk_operation_survives_the_death_of_its_worker(
    installation: Installation,
) -> None:
    total = installation.drive("delete_many", count=120)
    assert total == 120
    with installation.worker("first") as first:
        wait_for(partial(_done, installation), what="some of the runs to be deleted")
        kill(first)
    assert _done(installation) < total, "the worker was not killed during the operation"
    with installation.worker("second"):
        wait_for(lambda: _done(installation) == total, what="the rest to be deleted")
    did = "SELECT COUNT(*), COUNT(DISTINCT run_id) FROM workflows_auditevent"
    assert installation.ask(f"{did} WHERE action = 'delete'") == [(total, total)]
    results = "SELECT result, COUNT(*) FROM workflows_bulkitem GROUP BY result"
    assert installation.ask(results) == [("done", total)]
    report = installation.drive("report")
    assert report["runs"] == []
    assert report["not_as_recorded"] == []


@pytest.mark.parametrize(
    ("runs", "kills"),
    [
        pytest.param(24, 3, marks=pytest.mark.slow),
        pytest.param(1000, 40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_runs_survive_repeated_kills_of_workers(
    migrated_url: str, redis_url: str, tmp_path: Path, runs: int, kills: int
) -> None:
    rounds = 8
    installation = Installation(
        tmp_path, database=migrated_url, redis=redis_url, MAX_RECOVERIES="1000"
    )
    installation.launch(runs, rounds=rounds, seconds=0.05)
    share = runs // 4  # each of the four workers holds some runs
    between = runs * (rounds + 2) // (2 * kills)  # steps between two kills
    with ExitStack() as stack:
        first = [
            stack.enter_context(installation.worker(f"first-{n}", share))
            for n in range(4)
        ]
        workers = {worker.pid: worker for worker in first}
        for number in range(kills):
            before = len(installation.traces())
            wait_for(
                partial(_has_progressed, installation, before + between),
                what="some steps to begin",
            )
            kill(workers.pop(_worker_of(installation.working(), workers)))
            replacement = stack.enter_context(
                installation.worker(f"heir-{number}", share)
            )
            workers[replacement.pid] = replacement
        report = wait_until_ended(installation, seconds=1200)
    check_history(report, rounds)
    died = {a["worker"] for a in report["attempts"] if a["outcome"] == "lost"}
    assert len(died) > kills // 2, "most workers held runs when they were killed"


def _done(installation: Installation) -> int:
    """Return the number of runs that a job reports as done."""
    ((done,),) = installation.ask("SELECT done FROM workflows_bulkjob")
    return int(done)


def _worked_since(installation: Installation, before: int) -> bool:
    return any(key.endswith("/work/2") for key in installation.traces()[before:])


def _has_progressed(installation: Installation, steps: int) -> bool:
    return len(installation.traces()) > steps


def _is_gone(pid: int) -> bool:
    return not _ps("stat", pid) or "Z" in _ps("stat", pid)


def _worker_of(pid: int, workers: dict[int, Any]) -> int:
    """Return the worker of a node's process, or of the parent of that process."""
    if pid in workers:
        return pid
    parent = _ps("ppid", pid)
    found = int(parent) if parent else 0
    return found if found in workers else next(iter(workers))


def _ps(column: str, pid: int) -> str:
    listed = subprocess.run(
        ["ps", "-o", f"{column}=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.strip()
