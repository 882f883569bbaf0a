"""Nudges: tiny messages that say "look again". Losing one costs a moment, never truth.

workers          a run is pending            → a worker looks at the queue
workers          a run shall stop            → its worker cancels it
run.<id>         the run has a new version   → its open pages render again
runs             some runs changed           → open lists render again
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from workflows.execution.database import calling_loop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

logger = logging.getLogger(__name__)

WORKERS = "workers"
RUNS = "runs"
PAUSE_SECONDS = 0.1  # between two nudges of one group: about ten a second


def group(run_id: UUID | str) -> str:
    """Return the name of the group whose pages show this run."""
    return f"run.{run_id}"


async def send(to: str, message: Mapping[str, object]) -> None:
    """Send a nudge; a channel layer that is away is logged: the sweep is the net."""
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        await layer.group_send(to, dict(message))
    except Exception:
        logger.warning(
            "The channel layer did not take a nudge to %s.", to, exc_info=True
        )


def send_on_commit(to: str, message: Mapping[str, object]) -> None:
    """Send a nudge once the current transaction is committed; at once outside of one."""
    transaction.on_commit(lambda: _send_from_thread(to, message))


def _send_from_thread(to: str, message: Mapping[str, object]) -> None:
    """Send on the event loop this thread works for: channels belong to their loop."""
    loop = calling_loop()
    if loop is None:
        async_to_sync(send)(to, message)
    else:
        asyncio.run_coroutine_threadsafe(send(to, message), loop)


def pending_on_commit() -> None:
    """Tell the workers that a run is waiting."""
    send_on_commit(WORKERS, {"type": "runs.pending"})


def launched_on_commit() -> None:
    """Tell the lists that there is a new run; nobody has its page open yet."""
    send_on_commit(RUNS, {"type": "runs.changed"})


def cancel_on_commit(run_id: UUID) -> None:
    """Tell the worker that has this run to stop it."""
    send_on_commit(WORKERS, {"type": "run.cancel", "run": str(run_id)})


def changed_on_commit(run_id: UUID) -> None:
    """Tell the pages of this run, and the lists, to look again."""
    send_on_commit(group(run_id), {"type": "run.changed", "run": str(run_id)})
    send_on_commit(RUNS, {"type": "runs.changed"})


class Announcer:
    """Announces what was committed, at most about ten times a second.

    The first change goes out at once; those that follow within the pause are told
    together at its end, so that the last one is never left untold.
    """

    def __init__(self) -> None:
        """Start with nothing to tell."""
        self._untold: dict[UUID, int] = {}
        self._telling: asyncio.Task[None] | None = None

    def committed(self, versions: Mapping[UUID, int]) -> None:
        """Announce new versions of runs; called on the event loop."""
        self._untold.update(versions)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            versions, self._untold = self._untold, {}
            for run_id, version in versions.items():
                message = {"type": "run.changed", "run": str(run_id)}
                await send(group(run_id), {**message, "version": version})
            await send(RUNS, {"type": "runs.changed"})
            await asyncio.sleep(PAUSE_SECONDS)

    async def drain(self) -> None:
        """Wait until everything was told."""
        if self._telling is not None:
            await self._telling
