"""The service behaves as in the recorded traces of the reference service.

Each case is a workflow and a script of requests, replayed through System on a real database
with a real worker. GOLDEN_DIR names another folder of cases in the same format.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lifecycle import compare, corrections, faults, invariants
from tests.lifecycle.cases import (
    RECORDED,
    Case,
    all_cases,
    lifecycle_cases,
)
from tests.lifecycle.player import ScriptPlayer, script_player

pytestmark = pytest.mark.django_db(transaction=True)

CASES = all_cases(lifecycle_cases)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Shorten the intervals of polls and heartbeats; no test depends on their length."""
    settings.POLL_INTERVAL_SECONDS = 0.05
    settings.HEARTBEAT_SECONDS = 0.2


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_the_service_behaves_as_recorded(case: Case) -> None:
    for variant in corrections.variants(case):
        async with script_player(variant) as player:
            if "fail_exec" in variant:
                await faults.assert_recovers(variant, player)
            else:
                await _assert_as_recorded(variant, player)
            await invariants.assert_invariants(variant, player)


async def _assert_as_recorded(case: Case, player: ScriptPlayer) -> None:
    await player.play()
    if case["conformance"] == "must_match":
        await compare.assert_same(case, player)
    else:
        await corrections.assert_corrected(case, player)


def test_every_recorded_case_is_replayed() -> None:
    assert lifecycle_cases(RECORDED), f"no cases in {RECORDED}"
    assert len({case["id"] for case in CASES}) == len(CASES), "two cases share an id"
