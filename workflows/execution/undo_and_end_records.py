"""What a recorder writes of the closing of its run: how the run will end, and its end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from workflows.engine.errors import RequestError, describe
from workflows.execution import pause_records
from workflows.infra.database_threads import run_in_db_retrying
from workflows.infra.text import clean
from workflows.models import Run, StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from workflows.execution.recorder import Recorder
    from workflows.execution.undo_and_end import DecidedEnd


async def decide_end(recorder: Recorder, end: DecidedEnd) -> None:
    """Commit how the run will end, before the nodes that follow its end are executed."""
    recorder.stages.is_ending = False
    is_cancelled = end.status == Status.CANCELLED
    ended = StageStatus.CANCELLED if is_cancelled else StageStatus.INTERRUPTED
    recorder.stages.close_stage(ended)
    await _close_pause(recorder, ended)
    for stage in recorder.buffer.record.stages:
        if stage.status == StageStatus.CANCELLED:
            stage.error = clean(end.message)
    recorder.run.closing = recorder.buffer.masker.value(end.to_json())
    set_columns(recorder, closing=recorder.run.closing)
    await recorder.buffer.flush()


async def _close_pause(recorder: Recorder, ended: StageStatus) -> None:
    """Close the stage at which an earlier attempt paused, if this one did not continue it."""
    if recorder.run.waiting_node and not recorder.stages.has_started:
        row = await run_in_db_retrying(pause_records.open_stage, recorder.run)
        if row is not None:
            row.status = ended
            recorder.buffer.record.stages.append(row)


def set_columns(recorder: Recorder, **columns: Any) -> None:
    """Set columns of the run with the next record, for which nothing waits."""
    write = partial(_update, recorder.run.pk, columns)
    recorder.buffer.record.extra_writes.append(write)


def _update(run_id: UUID, columns: Mapping[str, Any]) -> None:
    Run.objects.filter(pk=run_id).update(**columns)


async def end_as_decided(
    recorder: Recorder,
    end: DecidedEnd,
    *,
    result: str | None = None,
    unfinished: str = "",
) -> None:
    """Commit the end of a run that was decided; `unfinished` is why its closing stopped."""
    set_columns(recorder, closing=None)
    await commit_end(
        recorder,
        replace(end, message=f"{end.message} {unfinished}".strip()),
        result,
    )


async def commit_end(recorder: Recorder, end: DecidedEnd, result: str | None) -> None:
    """Commit the end of a run, with the run that continues it.

    If that cannot be launched, the run fails; a resume tries again.
    """
    successor = None
    if end.next_params is not None:
        try:
            successor = await recorder.launcher.successor(end.next_params)
        except RequestError as error:
            end, result = _not_continued(recorder, end, error), None
    await recorder.end(
        Status(end.status),
        result=result,
        message=end.message,
        code=end.code,
        node=end.node,
        traceback=end.traceback,
        successor=successor,
    )


def _not_continued(recorder: Recorder, end: DecidedEnd, error: Exception) -> DecidedEnd:
    last = recorder.last_state
    return replace(
        end,
        status=Status.FAILED.value,
        message=f"The run cannot continue as a new one: {describe(error)}",
        code="node_failed",
        node="" if last is None else last.checkpoint_node,
    )
