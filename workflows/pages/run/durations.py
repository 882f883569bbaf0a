"""How long a step took: the time it was active, and the whole time with its waits.

Both are true and they differ for a step that waited, for a person or before it was tried
again. Whatever shows a duration of a step says which one it is, with the words made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.pages.render.text import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Stage


@dataclass(frozen=True, slots=True)
class CallUsage:
    """The time that an execution of a step took, in milliseconds."""

    active_ms: float
    elapsed_ms: float  # from its start to its end, waits included

    @property
    def has_waits(self) -> bool:
        """Tell whether it waited so long that both durations read differently."""
        return self.elapsed_ms > self.active_ms and self.active != self._elapsed

    @property
    def words(self) -> str:
        """Return `3.0 s`, or `3.0 s active, 9.0 s with waits`."""
        if not self.has_waits:
            return self.active
        return f"{self.short}, {self._elapsed} with waits"

    @property
    def short(self) -> str:
        """Return `3.0 s`, or `3.0 s active` where it waited."""
        return f"{self.active} active" if self.has_waits else self.active

    @property
    def active(self) -> str:
        """Return the time it was active, where a legend says that this is meant."""
        return span(self.active_ms / 1000)

    @property
    def _elapsed(self) -> str:
        return span(self.elapsed_ms / 1000)


def spent_of(stage: Stage, known: Mapping[int, CallUsage]) -> CallUsage | None:
    """Return what a stage took; None while it is under way."""
    if stage.duration_ms is None:
        return None
    return known.get(stage.pk) or CallUsage(stage.duration_ms, stage.duration_ms)
