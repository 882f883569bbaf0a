"""What earlier attempts of a run left for the next one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from workflows.execution import checkpoints, pause_records, stream_preview
from workflows.execution.retry_records import NO_TRIES, Tries, tries_of
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Fork, StageItem

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from workflows.execution.checkpoints import Snapshot
    from workflows.execution.pause_records import Reply
    from workflows.models import Run


@dataclass(frozen=True, slots=True)
class History:
    """The last state, finished items by step and index, the end of a pause, earlier tries."""

    snapshot: Snapshot | None = None
    items: Mapping[int, Mapping[int, Any]] = field(default_factory=dict)
    reply: Reply | None = None
    waiting_since: dt.datetime | None = None
    tries: Tries = NO_TRIES
    entry: str = ""  # the node that runs first, without a decision; "" = decide


NO_HISTORY: Final = History()


async def history_of(run: Run) -> History:
    """Return the history of a claimed run; a first attempt has none.

    Raises CheckpointMismatch when a checkpoint is missing or damaged.
    """
    if run.attempt == 1 and not run.waiting_node:
        return NO_HISTORY
    return await run_in_db_retrying(_read, run)


def _read(run: Run) -> History:
    # a worker that is gone will never complete the responses it was streaming
    stream_preview.delete_rows(run.pk)
    items: dict[int, dict[int, Any]] = {}
    # of the step that was not completed, and of the steps of its branches
    for item in StageItem.objects.filter(run=run, sequence__gt=run.sequence):
        items.setdefault(item.sequence, {})[item.index] = json.loads(item.data)
    fork = Fork.objects.filter(run=run).first()
    entry = run.waiting_node or _entry_of(run, fork)
    is_paused = bool(entry)
    return History(
        snapshot=checkpoints.rebuild(run.pk),
        items=items,
        reply=pause_records.reply_to(run) if is_paused else None,
        waiting_since=pause_records.waiting_since(run) if is_paused else None,
        tries=tries_of(run, after=fork.attempt if fork else 0),
        entry=entry,
    )


def _entry_of(run: Run, fork: Fork | None) -> str:
    """Return the first node of a fork until its step is complete, "" for other runs."""
    if fork is None or fork.enters_after != run.sequence:
        return ""
    return fork.entry
