"""The engine behaves as the recorded traces of the reference, with corrected defects.

GOLDEN_DIR names another folder of cases in the same format.
"""

from __future__ import annotations

import pytest

from tests.engine.traces import compare, defects, patterns, settings
from tests.engine.traces.cases import RECORDED, Case, all_cases, cases_in
from tests.engine.traces.replay import replay
from tests.engine.traces.soundness import assert_sound

CASES = all_cases(cases_in)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_the_engine_behaves_as_recorded(case: Case) -> None:
    if case["kind"] == "graph":
        await behaves_as_graph(case)
    elif case["kind"] == "config_merge":
        settings.assert_merged(case)
    elif case["kind"] == "multi_observer":
        settings.assert_broadcast(case)
    else:
        await behaves_as_pattern(case)


async def behaves_as_graph(case: Case) -> None:
    result = await replay(case)
    assert_sound(case, result)
    if case["conformance"] == "must_match":
        compare.assert_same(case, result)
    elif case["conformance"] == "invariants":
        await defects.assert_invariants(case, result)
    else:
        await defects.assert_corrected(case, result)


async def behaves_as_pattern(case: Case) -> None:
    run = await patterns.run_pattern(case)
    if case["conformance"] == "must_match":
        patterns.assert_same(case, run)
    elif case["conformance"] == "invariants":
        patterns.assert_invariants(case, run)
    else:
        await patterns.assert_corrected(case, run)


def test_every_recorded_case_is_replayed() -> None:
    files = [
        path for path in RECORDED.glob("*.json") if path.name.startswith("engine_")
    ]
    assert files, f"no cases in {RECORDED}"
    assert len({case["id"] for case in CASES}) == len(CASES), "two cases share an id"
