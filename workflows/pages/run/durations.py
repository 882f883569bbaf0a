"""The two durations of a step: active time, and total time including waits.

They differ for a step that waited for an approval or between retries. Every page that
shows the duration of a step uses the texts of this module, which name the one shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.pages.render.text import span

Place = tuple[int, int]  # attempt and sequence of a stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Stage


@dataclass(frozen=True, slots=True)
class StepDuration:
    """The durations of one executed step, in milliseconds."""

    active_ms: float
    elapsed_ms: float  # from start to end, including waits

    @property
    def has_waits(self) -> bool:
        """Return whether both durations differ as displayed."""
        return self.elapsed_ms > self.active_ms and self.active != self._elapsed

    @property
    def text(self) -> str:
        """Return `3.0 s`, or `3.0 s active, 9.0 s with waits`."""
        if not self.has_waits:
            return self.active
        return f"{self.short}, {self._elapsed} with waits"

    @property
    def short(self) -> str:
        """Return `3.0 s`, or `3.0 s active` for a step that waited."""
        return f"{self.active} active" if self.has_waits else self.active

    @property
    def active(self) -> str:
        """Return the active time, for places with a legend."""
        return span(self.active_ms / 1000)

    @property
    def _elapsed(self) -> str:
        return span(self.elapsed_ms / 1000)


def step_duration(
    stage: Stage, known: Mapping[Place, StepDuration]
) -> StepDuration | None:
    """Return the duration of a stage, None while it runs; `known` is keyed by place."""
    if stage.duration_ms is None:
        return None
    return known.get(stage.place) or StepDuration(stage.duration_ms, stage.duration_ms)
