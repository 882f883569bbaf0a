"""The cases: from the folder in GOLDEN_DIR, else ours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeAlias

Case: TypeAlias = dict[str, Any]

TESTS = Path(__file__).parents[2]
RECORDED = Path(os.environ.get("GOLDEN_DIR") or TESTS / "golden")
OURS = TESTS / "golden_more"

PREFIXES = ("engine_", "patterns_", "config_", "observer_")


def cases_in(folder: Path) -> list[Case]:
    """Every case of the engine, its patterns, configurations and observers."""
    files = [
        path for path in sorted(folder.glob("*.json")) if path.name.startswith(PREFIXES)
    ]
    return [case for path in files for case in json.loads(path.read_text())["cases"]]
