"""One run of the suite: short by default, ten minutes with the slow tests.

Environment variables:
    CHAOS_SEED      the seed; by default SEED, and one at random for the long run
    CHAOS_SECONDS   how long the schedule of the long run is
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from random import SystemRandom

import pytest

from tests.chaos.__main__ import settings_of
from tests.chaos.run import run
from tests.chaos.schedule import FAULTS, REQUESTS, WORKFLOWS, Settings, draw

SEED = 1763
MAX_SEED = 999_999
SHORT = Settings(
    seed=int(os.environ.get("CHAOS_SEED", SEED)),
    seconds=5,
    workers=2,
    webs=1,
    clients=3,
    requests_per_second=4,
    faults_per_second=1.0,
    lease_seconds=2,
    pace=0.02,
)


def test_the_same_seed_gives_the_same_schedule_and_another_one_does_not() -> None:
    settings = Settings(seed=7, seconds=600)
    assert draw(settings) == draw(settings)
    assert draw(settings) != draw(replace(settings, seed=8))


def test_a_schedule_of_ten_minutes_has_every_fault_and_every_request() -> None:
    schedule = draw(Settings(seed=7, seconds=600))
    assert {fault.what for fault in schedule.faults} == set(FAULTS)
    assert {request.action for request in schedule.requests} == set(REQUESTS)
    assert {request.workflow for request in schedule.requests} == set(WORKFLOWS)
    assert {fault.process for fault in schedule.faults} == {
        *("worker0", "worker1", "worker2", "web0", "web1")
    }
    for events in (schedule.requests, schedule.faults):
        moments = [event.at for event in events]
        assert moments == sorted(moments)
        assert moments[-1] < schedule.settings.seconds


def test_the_command_of_a_report_repeats_the_schedule() -> None:
    settings = Settings(seed=7, seconds=20, pace=0.5, faults=("kill", "read only"))
    assert settings.command == (
        "python -m tests.chaos --seed 7 --seconds 20 --pace 0.5"
        ' --fault "kill" --fault "read only"'
    )
    assert settings_of(shlex.split(settings.command)[3:])[0] == settings
    assert settings_of([])[0].faults == tuple(FAULTS)
    assert replace(settings, seed=20261201).command.startswith(
        "python -m tests.chaos --seed 20261201 --seconds 20 "
    )


@pytest.mark.crash
@pytest.mark.timeout(400)
def test_nothing_is_lost_or_duplicated_during_a_short_series_of_faults(
    migrated_url: str, tmp_path: Path
) -> None:
    outcome = run(SHORT, tmp_path, migrated_url)
    assert outcome.failed == [], f"\n{outcome}"


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") == "postgres",
    reason="It uses PostgreSQL anyway: `make test-all` needs it once.",
)
def test_nothing_is_lost_or_duplicated_during_a_long_series_of_faults(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", SystemRandom().randint(1, MAX_SEED)))
    seconds = float(os.environ.get("CHAOS_SECONDS", "600"))
    settings = Settings(seed=seed, seconds=seconds, clients=8, requests_per_second=6)
    outcome = run(settings, tmp_path)
    assert outcome.failed == [], f"\n{outcome}"
