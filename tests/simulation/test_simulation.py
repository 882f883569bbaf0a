"""Seeded schedules of the execution core hold the invariants, and faults in it are found."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from project.env import ROOT
from tests.simulation.plants import PLANTS, planted

SHORT, LONG = 8, 2_000  # schedules
ENOUGH = 400  # schedules in which a planted fault has to show


def simulate(*arguments: str, seconds: float = 110) -> tuple[int, str]:
    """Return the exit code and the report of schedules in another process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    return done.returncode, done.stdout + done.stderr


def test_schedules_with_faults_satisfy_every_invariant() -> None:
    code, report = simulate("--seed", "18", "--schedules", str(SHORT))
    assert code == 0, report
    for fault in ("crash", "cut", "lost reply", "message", "stop"):
        assert re.search(rf"\b[1-9]\d* {fault}\b", report), report


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", [10_000, 20_000])
def test_many_schedules_satisfy_every_invariant(seed: int) -> None:
    arguments = ("--seed", str(seed), "--schedules", str(LONG), "--processes", "2")
    code, report = simulate(*arguments, seconds=1_700)
    assert code == 0, report


@pytest.mark.slow
def test_a_seed_repeats_its_schedule_in_any_process() -> None:
    arguments = ("--seed", "22", "--schedules", "6", "--digest")
    _, first = simulate(*arguments)
    _, second = simulate(*arguments, "--processes", "3")
    digests = re.findall(r"^Seed \d+: \w{64}$", first, re.MULTILINE)
    assert len(digests) == 6, first
    assert digests == sorted(re.findall(r"^Seed \d+: \w{64}$", second, re.MULTILINE))


def test_faults_can_be_planted() -> None:
    for plant in PLANTS:
        with planted(plant):
            pass


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_fault_in_the_product_is_found(plant: str) -> None:
    schedules = ("--schedules", str(ENOUGH), "--until-failure")
    code, report = simulate("--plant", plant, *schedules, seconds=850)
    assert code == 1, report
    assert "Repeat it with: python -m tests.simulation --seed" in report
