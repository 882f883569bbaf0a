"""The notice of a run whose end is decided, while the nodes that follow it are executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.models import Status

if TYPE_CHECKING:
    from workflows.models import Run


def closing_title(run: Run) -> str:
    """Return what is left to do before the run ends."""
    if run.closing is None:
        return ""
    if run.closing["status"] == Status.COMPLETED or run.steps_to_undo == 0:
        return "Running the last node."
    if not run.steps_to_undo:
        return "Undoing the completed steps."
    return f"Undoing the completed steps: {run.undo_text}."


def closing_text(run: Run) -> str:
    """Return how the run will end."""
    status = Status((run.closing or {})["status"]).label.lower()
    return f"Then the run is {status}. It cannot be cancelled or resumed meanwhile."
