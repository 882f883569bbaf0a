"""Loads the lifecycle cases: recorded ones, those in GOLDEN_DIR, and additional ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.engine.traces.cases import RECORDED, Case, all_cases

__all__ = [
    "RECORDED",
    "Action",
    "Case",
    "all_cases",
    "lifecycle_cases",
    "recorded_script",
    "text_of",
]

Action = Mapping[str, Any]


def lifecycle_cases(folder: Path) -> list[Case]:
    """Return the lifecycle cases of a folder."""
    return [
        case
        for path in sorted(folder.glob("lifecycle*.json"))
        for case in json.loads(path.read_text())["cases"]
    ]


def recorded_script(case: Case) -> list[Mapping[str, Any]]:
    """Return the recorded answer of each action; empty ones if only invariants are given."""
    recorded = case["expected"].get("script")
    return list(recorded) if recorded else [{} for _ in case["script"]]


def needs_the_api(case: Case) -> bool:
    """Return whether a case compares bodies and headers of a REST API."""
    recorded = recorded_script(case)
    return any(BODY & answer.keys() for answer in recorded)


BODY = {"body", "body_keys", "body_is_list", "sse_event_lines"}


def text_of(case: Case) -> str:
    """Return the text that describes the required behaviour of a case."""
    texts = [
        case.get("correct_behaviour", ""),
        *case["expected"].get("invariants", ()),
    ]
    return "; ".join(filter(None, texts))
