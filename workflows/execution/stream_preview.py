"""The text so far of a response that is still being streamed, in a row for open pages.

The row is written a few times a second however fast the text arrives, and each time the
open pages of the run are notified. Nothing waits for it: what is lost here is only a
preview of text that the complete response contains anyway.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import DatabaseError
from django.utils import timezone

from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.infra.text import RESERVED
from workflows.models import LiveText

if TYPE_CHECKING:
    from workflows.execution.masking import Masker
    from workflows.models import Run

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2  # between two writes
MAX_CHARACTERS = 4_000  # of the end of the text: more is not read while it grows


class LiveStreamPreview:
    """The text of one streamed response."""

    def __init__(
        self, run: Run, call_id: UUID, sequence: int, agent: str, masker: Masker
    ) -> None:
        """Write nothing before the first piece of text."""
        self._run = run
        self._masker = masker
        self._row = LiveText(
            id=call_id,
            run_id=run.pk,
            attempt=run.attempt,
            sequence=sequence,
            agent_name=agent,
        )
        self._pieces: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None  # outlives the end of `_task`
        self._changed = asyncio.Event()

    def add(self, piece: str) -> None:
        """Append a piece of text; it is shown with the next update."""
        self._pieces.append(piece)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._write_periodically())

    async def end(self) -> None:
        """Remove the row."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._writing is not None:
            await self._writing  # else it would insert the row again
        await self._try(LiveText.objects.filter(pk=self._row.pk).delete)
        await self._notify()

    async def _write_periodically(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            text, kept_back = self._masker.growing("".join(self._pieces))
            text = text[-MAX_CHARACTERS:]
            self._pieces = [text, kept_back]
            self._row.text = text.replace(RESERVED, "\ufffd")
            self._row.updated_at = timezone.now()
            self._writing = asyncio.create_task(self._try(self._write))
            await asyncio.shield(self._writing)
            await self._notify()
            await asyncio.sleep(PAUSE_SECONDS)

    def _write(self) -> None:
        LiveText.objects.bulk_create(
            [self._row],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["text", "updated_at"],
        )

    async def _try(self, write: object) -> None:
        """Write; an error costs the preview, not the run."""
        try:
            await run_in_db(write)  # type: ignore[arg-type]
        except DatabaseError:
            logger.warning(
                "The preview of run %s is not shown.", self._run.pk, exc_info=True
            )

    async def _notify(self) -> None:
        await notifications.send(
            notifications.PAGES,
            {"type": notifications.STREAM_PREVIEW, "run": str(self._run.pk)},
        )


def delete_rows(run_id: UUID) -> None:
    """Delete the previews that a lost worker left behind."""
    LiveText.objects.filter(run=run_id).delete()
