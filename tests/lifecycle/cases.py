"""The lifecycle cases: from the folder in GOLDEN_DIR, else ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.engine.traces.cases import RECORDED, Case

__all__ = ["RECORDED", "Action", "Case", "lifecycle_cases"]

Action = Mapping[str, Any]


def lifecycle_cases() -> list[Case]:
    """Every case of a service's life."""
    cases: list[Case] = json.loads((RECORDED / "lifecycle.json").read_text())["cases"]
    return cases
