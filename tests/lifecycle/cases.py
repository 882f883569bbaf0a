"""The lifecycle cases: those recorded, from the folder in GOLDEN_DIR, and more of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.engine.traces.cases import OURS, RECORDED, Case

__all__ = [
    "OURS",
    "RECORDED",
    "Action",
    "Case",
    "lifecycle_cases",
    "recorded_script",
    "text_of",
]

Action = Mapping[str, Any]


def lifecycle_cases(folder: Path) -> list[Case]:
    """Every case of a service's life in a folder."""
    return [
        case
        for path in sorted(folder.glob("lifecycle*.json"))
        for case in json.loads(path.read_text())["cases"]
    ]


def recorded_script(case: Case) -> list[Mapping[str, Any]]:
    """What was recorded of each action: nothing where only invariants hold."""
    recorded = case["expected"].get("script")
    return list(recorded) if recorded else [{} for _ in case["script"]]


def text_of(case: Case) -> str:
    """What should have been recorded, in words."""
    spoken = [
        case.get("correct_behaviour", ""),
        *case["expected"].get("invariants", ()),
    ]
    return "; ".join(filter(None, spoken))
