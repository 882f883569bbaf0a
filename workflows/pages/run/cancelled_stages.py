"""The status that pages show of a stage whose run was cancelled.

A stage that a cancellation interrupts is recorded as cancelled, with the reason. Older rows
have `failed`, or still `waiting`. They are sealed, so they never change; their status
follows from the outcome of the attempt and the status of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workflows.models import Outcome, StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workflows.models import Run, Stage


@dataclass(frozen=True, slots=True)
class CancelledAttempts:
    """The attempts that were cancelled, with the reason of each."""

    reasons: Mapping[int, str]
    # attempt and sequence of steps in them whose failure route was taken
    routed: frozenset[tuple[int, int]] = frozenset()


NONE_CANCELLED: Final = CancelledAttempts({})


def cancelled_attempts(run: Run, statuses: Iterable[str]) -> CancelledAttempts:
    """Return the attempts of a run that were cancelled.

    Only a failed stage can have been cancelled: without any, there is no query.
    """
    if StageStatus.FAILED not in statuses:
        return NONE_CANCELLED
    cancelled = run.attempts.filter(outcome=Outcome.CANCELLED)
    reasons = dict(cancelled.values_list("number", "error_message"))
    if not reasons:
        return NONE_CANCELLED
    failed = run.stages.filter(status=StageStatus.FAILED, attempt__in=reasons)
    taken = run.decisions.filter(
        taken=True, attempt__in=reasons, sequence__in=failed.values("sequence")
    )
    return CancelledAttempts(
        reasons, frozenset(taken.values_list("attempt", "sequence"))
    )


def shown_status(
    run: Run, status: str, place: tuple[int, int], cancelled: CancelledAttempts
) -> str:
    """Return the status of the stage of this attempt and sequence."""
    if (
        status == StageStatus.FAILED
        and place[0] in cancelled.reasons
        and place not in cancelled.routed
    ):
        return StageStatus.CANCELLED
    if status == StageStatus.WAITING and run.status == Status.CANCELLED:
        return StageStatus.CANCELLED
    return status


def as_shown(run: Run, stages: Iterable[Stage]) -> list[Stage]:
    """Return stages of a run with the status that is shown. Never save them."""
    shown = list(stages)
    cancelled = cancelled_attempts(run, {stage.status for stage in shown})
    for stage in shown:
        status = shown_status(run, stage.status, stage.place, cancelled)
        if status != stage.status:
            if stage.status == StageStatus.WAITING:
                stage.duration_ms = None  # it ends with the pause, not the cancellation
            stage.status = status
            reasons = cancelled.reasons
            stage.error_message = reasons.get(stage.attempt, run.cancel_reason)
    return shown
