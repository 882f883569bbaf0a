"""Differences between a golden run and a rerun of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from workflows.services.golden_fields import MISSING, GoldenField, value_at
from workflows.services.run_paths import PathStep, path_in_memory, recorded_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workflows.engine.testing import Outcome
    from workflows.models import GoldenRun

MAX_VALUE_CHARS: Final = 300  # of a value in a sentence
STATUS, STEP, EDGE, FIELD = "status", "step", "edge", "field"
NO_STEP = PathStep(0, "")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a rerun did not repeat; the values are JSON."""

    kind: str  # STATUS, STEP, EDGE or FIELD
    expected: Any
    found: Any
    step: int | None = None  # of the golden run; None: after its last one, or no step
    node: str = ""  # of the edge
    field: str = ""
    tolerance: float | None = None
    is_missing: bool = False  # the result of the rerun has no such field

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Difference:
        """Return a difference as it is stored."""
        return cls(**stored)

    @property
    def as_json(self) -> dict[str, Any]:
        """The difference as it is stored."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The difference as one sentence, without a full stop."""
        where = "" if self.step is None else f"step {self.step}, "
        if self.kind == STEP:
            ran = f"ran {self.found}" if self.found else "the run ended"
            wanted = self.expected or "the end of the run"
            return f"{where}expected {wanted}, {ran}"
        if self.kind == EDGE:
            taken = f"took the edge to {self.found}" if self.found else "took no edge"
            wanted = f"the edge to {self.expected}" if self.expected else "no edge"
            return f"{where}{self.node}: expected {wanted}, {taken}"
        if self.kind == FIELD:
            found = "no such field" if self.is_missing else _text(self.found)
            margin = f" ± {self.tolerance:g}" if self.tolerance is not None else ""
            return f"{self.field}: expected {_text(self.expected)}{margin}, got {found}"
        return f"status: expected {self.expected}, got {self.found}"


def differences(
    golden: GoldenRun, outcome: Outcome[Any], result: Mapping[str, Any]
) -> list[Difference]:
    """Return what a rerun did not repeat: status, first step of another path, fields.

    `result` is the final state of the rerun, without its secrets.
    """
    run = golden.run
    found = []
    if outcome.status != run.status:
        found.append(Difference(STATUS, run.status, _status_text(outcome)))
    if golden.checks_path:
        found += _first_of_path(recorded_path(run), path_in_memory(outcome))
    if outcome.status == "completed":
        found += _of_fields(golden, result)
    return found


def _status_text(outcome: Outcome[Any]) -> str:
    if outcome.pause is not None:
        pause = outcome.pause
        what = pause.question or pause.event or pause.kind
        return f"waiting at {pause.node}, for which nothing is recorded: {what}"
    if outcome.error is not None:
        return f"{outcome.status}: {outcome.error}"
    return outcome.status


def _first_of_path(
    expected: Sequence[PathStep], found: Sequence[PathStep]
) -> list[Difference]:
    """Return the first difference: what follows is another path."""
    for one, other in zip_longest(expected, found, fillvalue=NO_STEP):
        step = one.sequence or None
        if one.node != other.node:
            return [Difference(STEP, one.node, other.node, step)]
        if one.target != other.target:
            return [Difference(EDGE, one.target, other.target, step, one.node)]
    return []


def _of_fields(golden: GoldenRun, result: Mapping[str, Any]) -> Iterator[Difference]:
    for stored in golden.fields:
        field = GoldenField.of_json(stored)
        expected = value_at(golden.run.result, field.name)
        found = value_at(result, field.name)
        if not field.accepts(expected, found):
            is_missing = found is MISSING
            yield Difference(
                FIELD,
                None if expected is MISSING else expected,
                None if is_missing else found,
                field=field.name,
                tolerance=field.tolerance,
                is_missing=is_missing,
            )


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"
