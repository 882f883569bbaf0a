"""The whole of it does what the recorded traces of the reference service show.

Each case is a workflow and a script of what people ask, replayed through System on a real
database with a real worker. GOLDEN_DIR names another folder of cases in the same format.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lifecycle import compare, corrected, faults, truth
from tests.lifecycle.cases import (
    RECORDED,
    Case,
    all_cases,
    lifecycle_cases,
)
from tests.lifecycle.script import Script, scene

pytestmark = pytest.mark.django_db(transaction=True)

CASES = all_cases(lifecycle_cases)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Let sweeps and heartbeats come quickly; nothing here waits for them to pass."""
    settings.POLL_INTERVAL_SECONDS = 0.05
    settings.HEARTBEAT_SECONDS = 0.2


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_the_service_behaves_as_recorded(case: Case) -> None:
    for variant in corrected.variants(case):
        async with scene(variant) as script:
            if "fail_exec" in variant:
                await faults.assert_survived(variant, script)
            else:
                await behaves_as_recorded(variant, script)
            await truth.assert_true(variant, script)


async def behaves_as_recorded(case: Case, script: Script) -> None:
    await script.play()
    if case["conformance"] == "must_match":
        await compare.assert_same(case, script)
    else:
        await corrected.assert_corrected(case, script)


def test_every_recorded_case_is_replayed() -> None:
    assert lifecycle_cases(RECORDED), f"no cases in {RECORDED}"
    assert len({case["id"] for case in CASES}) == len(CASES), "two cases share an id"
