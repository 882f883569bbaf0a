"""Loads cases from the folder in GOLDEN_DIR, or tests/golden, and tests/golden_more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

Case: TypeAlias = dict[str, Any]

TESTS = Path(__file__).parents[2]
RECORDED = Path(os.environ.get("GOLDEN_DIR") or TESTS / "golden")
OURS = TESTS / "golden_more"

PREFIXES = ("engine_", "patterns_", "config_", "observer_")


def all_cases(find: Callable[[Path], list[Case]]) -> list[Case]:
    """Return the cases of both folders; recorded ones replace additional ones of equal id."""
    recorded = find(RECORDED)
    known = {case["id"] for case in recorded}
    return [*recorded, *(case for case in find(OURS) if case["id"] not in known)]


def cases_in(folder: Path) -> list[Case]:
    """Return the cases of engine, patterns, configurations and observers."""
    files = [
        path for path in sorted(folder.glob("*.json")) if path.name.startswith(PREFIXES)
    ]
    return [case for path in files for case in json.loads(path.read_text())["cases"]]
