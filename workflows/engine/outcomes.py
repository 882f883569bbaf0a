"""How a run ends, as its on_end node reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

EndStatus: TypeAlias = Literal["completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ends."""

    status: EndStatus
    code: str = ""  # of the error, as in the documentation
    message: str = ""  # of the error, or the reason of the cancellation
    node: str = ""  # at which it failed or was cancelled
    undone: int = 0  # steps that were undone
    to_undo: int = 0  # steps that had to be undone

    @property
    def undo_text(self) -> str:
        """How many steps were undone, in words; "" if none had to be."""
        return f"{self.undone} of {self.to_undo} undone" if self.to_undo else ""
