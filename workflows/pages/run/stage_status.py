"""The status that pages show of a stage whose run was cancelled.

A stage that a cancellation interrupts is recorded as cancelled, with the reason. Older rows
have `failed`, or still `waiting`. They are sealed, so they never change; their status
follows from the outcome of the attempt and the status of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.models import Outcome, StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workflows.models import Run, Stage


def cancel_reasons(run: Run, statuses: Iterable[str]) -> Mapping[int, str]:
    """Return the attempts that were cancelled, with the reason of each.

    Only a failed stage can have been cancelled: without any, there is no query.
    """
    if StageStatus.FAILED not in statuses:
        return {}
    cancelled = run.attempts.filter(outcome=Outcome.CANCELLED)
    return dict(cancelled.values_list("number", "error_message"))


def shown_status(
    run: Run, status: str, attempt: int, cancelled: Mapping[int, str]
) -> str:
    """Return the status of a stage; `cancelled` has the cancelled attempts."""
    if status == StageStatus.FAILED and attempt in cancelled:
        return StageStatus.CANCELLED
    if status == StageStatus.WAITING and run.status == Status.CANCELLED:
        return StageStatus.CANCELLED
    return status


def as_shown(run: Run, stages: Iterable[Stage]) -> list[Stage]:
    """Return stages of a run with the status that is shown. Never save them."""
    shown = list(stages)
    cancelled = cancel_reasons(run, {stage.status for stage in shown})
    for stage in shown:
        status = shown_status(run, stage.status, stage.attempt, cancelled)
        if status != stage.status:
            if stage.status == StageStatus.WAITING:
                stage.duration_ms = None  # it ends with the pause, not the cancellation
            stage.status = status
            stage.error_message = cancelled.get(stage.attempt, run.cancel_reason)
    return shown
