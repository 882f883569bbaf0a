"""bench.soak finds growth that was planted, and takes noise for noise."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.utils import timezone

from bench.soak.__main__ import after, findings
from bench.soak.clients import Books
from bench.soak.gauges import KEPT, age_runs, process_values
from bench.soak.growth import Point, TooFewPoints, binned, quarters, slope
from bench.soak.limits import MB, METRICS, Line, judge
from project.env import ROOT
from tests.support.factories import make_run
from tests.support.servers import HOME, own_environment, shared_postgres
from workflows.models import Retention, Run, Status
from workflows.retention.periodic_purge import purge_if_due

HOUR = 3_600
SEEDS = range(20)


def series(
    value: Callable[[float], float], *, noise: float = 0.0, seed: int = 0
) -> list[Point]:
    """Return an hour of samples, every five seconds; noise is a standard deviation."""
    source = random.Random(seed)  # noqa: S311 - noise, no secret
    return [(t, value(t) + source.gauss(0, noise)) for t in range(0, HOUR, 5)]


def line(name: str, points: list[Point]) -> Line:
    (found,) = judge({("web0", name): points})
    return found


def is_exceeded(name: str, points: list[Point]) -> bool:
    verdict = line(name, points).verdict
    assert verdict is not None
    return verdict.is_exceeded


# Fits -----------------------------------------------------------------------------------


def test_the_slope_of_a_line_is_its_slope() -> None:
    found = slope([(t, 7 + t * 2) for t in range(0, 600, 5)])
    assert (found.per_hour, found.at_least) == pytest.approx((7_200, 7_200))


def test_outliers_do_not_change_the_slope() -> None:
    points = [
        (t, value + (1e9 if t % 50 == 0 else 0))
        for t, value in series(lambda t: t / HOUR)
    ]
    assert slope(points).per_hour == pytest.approx(1, abs=0.05)


def test_noise_has_no_positive_lower_bound() -> None:
    bounds = [slope(series(lambda _: 100, noise=5, seed=seed)) for seed in SEEDS]
    assert [found for found in bounds if found.at_least > 0] == []


def test_bins_are_the_medians_of_equal_spans_in_order() -> None:
    points = [(float(t), float(t)) for t in range(1_000)]
    found = binned(points[::-1], bins=10)
    assert found == [(t, t) for t in (49.5 + 100 * n for n in range(9))] + [
        (949.5, 949.5)
    ]


def test_quarters_are_of_the_time_and_not_of_the_number_of_points() -> None:
    points = [(float(t), 1.0) for t in range(100)] + [(400.0, 2.0)]
    first, last = quarters(points)
    assert (len(first), last) == (100, [2.0])


def test_a_short_series_cannot_be_judged() -> None:
    points = [(float(t), 1.0) for t in range(7)]
    for judged in (slope, quarters):
        with pytest.raises(TooFewPoints):
            judged(points)
    assert line("memory", points).verdict is None


# Limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leak_of_memory_is_found_in_noise(seed: int) -> None:
    points = series(lambda t: (130 + 30 * t / HOUR) * MB, noise=3 * MB, seed=seed)
    assert is_exceeded("memory", points)
    assert line("memory", points).sentence().startswith("web0: memory grew by ")


@pytest.mark.parametrize("seed", SEEDS)
def test_memory_that_fluctuates_is_no_leak(seed: int) -> None:
    def level(seconds: float) -> float:
        return (130 + 8 * (seconds % 200) / 200) * MB  # garbage, collected now and then

    points = series(level, noise=3 * MB, seed=seed)
    assert not is_exceeded("memory", points)
    assert line("memory", points).sentence() == ""


def test_growth_within_the_limit_is_allowed() -> None:
    assert not is_exceeded("memory", series(lambda t: (130 + 15 * t / HOUR) * MB))
    large = series(lambda t: (1_000 + 40 * t / HOUR) * MB)  # 4 percent
    assert not is_exceeded("memory", large)
    assert is_exceeded("memory", series(lambda t: (1_000 + 60 * t / HOUR) * MB))


@pytest.mark.parametrize(
    "name",
    [
        "open files",
        "threads",
        "TCP connections",
        "database connections",
        "pending runs",
    ],
)
def test_a_leak_of_one_in_two_minutes_is_found(name: str) -> None:
    assert is_exceeded(name, series(lambda t: 40 + t // 120, noise=2))
    assert not is_exceeded(name, series(lambda t: 40 + 6 * math.sin(t / 90), noise=2))


def test_pages_that_become_slower_are_found() -> None:
    def took(seconds: float) -> float:
        return 0.2 if seconds > HOUR * 0.8 else 0.1

    assert is_exceeded("page p95", series(took, noise=0.01))


def test_single_slow_pages_do_not_count() -> None:
    points: list[Point] = [
        (t, 5.0 if t > 3_000 and t % 150 == 0 else 0.1) for t in range(0, HOUR, 5)
    ]
    assert statistics.fmean(value for t, value in points if t > 2_700) > 0.15
    assert not is_exceeded("page p95", points)


def test_the_warm_up_is_not_judged() -> None:
    points = series(lambda t: min(t, 720) / 20)
    assert is_exceeded("threads", points)
    (kept,) = after({("web0", "threads"): points}, 720).values()
    assert kept[0][0] == 720
    assert not is_exceeded("threads", kept)


def test_a_violated_limit_is_a_sentence_with_the_numbers() -> None:
    found = line("open files", series(lambda t: 40 + t // 120))
    assert found.sentence() == (
        "web0: open files grew by 23.0 from the first to the last quarter,"
        " from 43.0 to 66.0; the limit is 8.0."
    )
    assert found.cells()[-1] == "EXCEEDED"


def test_ended_processes_failed_requests_and_missing_points_are_findings() -> None:
    books = Books()
    books.statuses.update({200: 999, 500: 2})
    assert findings([], books, {}) == []
    books.failures["GET /runs/: status 500"] = 2
    short = line("memory", [])
    assert findings([short], books, {"worker0": -9}) == [
        "web0: memory has too few points to be judged: take more minutes.",
        "worker0 ended with -9: see its log.",
        "2 of 1,001 requests failed; the limit is 0.1%. First: GET /runs/: status 500",
    ]


# Measurements ---------------------------------------------------------------------------


def test_files_threads_and_memory_of_a_process_are_counted(tmp_path: Path) -> None:
    def measured() -> dict[str, float]:
        return {name: value for _, name, value in process_values("own", os.getpid())}

    before = measured()
    with ExitStack() as stack:
        for number in range(10):
            stack.enter_context((tmp_path / str(number)).open("w"))
        assert measured()["open files"] == before["open files"] + 10
    assert before["memory"] > MB
    assert before.keys() < METRICS.keys()


def test_a_process_that_has_ended_has_no_values() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert list(process_values("own", process.pid)) == []


@pytest.mark.django_db(transaction=True)
def test_workers_purge_the_runs_that_were_aged_and_no_others() -> None:
    Retention.objects.create(payload_days=1, run_days=1, decision_days=1)
    now = timezone.now()
    ended = make_run(status=Status.COMPLETED, completed_at=now - KEPT * 2)
    kept = [
        make_run(status=Status.COMPLETED, completed_at=now - dt.timedelta(seconds=5)),
        make_run(status=Status.WAITING),
    ]
    for _ in range(2):  # the second purge would not be due for an hour
        age_runs()
        purge_if_due()
    assert not Run.objects.filter(pk=ended.pk).exists()
    assert Run.objects.filter(pk__in=[run.pk for run in kept]).count() == len(kept)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["--sqlite", "--webs=1"])
def test_a_short_soak_measures_everything_without_a_failed_request(
    tmp_path: Path, database: str
) -> None:
    server = shared_postgres(Path(os.environ[HOME])) if database != "--sqlite" else ""
    command = ["-m", "bench.soak", "--minutes=0.4", database, f"--directory={tmp_path}"]
    done = subprocess.run(
        [sys.executable, *command, "--every=0.2", "--people=3"],
        cwd=ROOT,
        env=own_environment(tmp_path, PERF_PG_URL=server),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    report = tmp_path / "report.json"
    assert report.exists(), done.stderr
    found = json.loads(report.read_text())
    assert done.returncode == bool(found["wrong"])
    assert found["failures"] == {}
    measured = {(one["subject"], one["metric"]) for one in found["series"]}
    expected = {("web0", "memory"), ("pages", "page p95"), ("queue", "pending runs")}
    if database != "--sqlite":
        expected |= {("worker1", "threads"), ("database", "database connections")}
        expected |= {("Redis", "Redis clients")}
    assert expected <= measured
    assert all(one["points"] for one in found["series"])
