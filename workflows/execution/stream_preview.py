"""An answer that is still being given, for those who watch: its text so far, in a row.

The row is written a few times a second however fast the words come, and after each time
the open pages of the run are told to look at it. Nothing waits for it: what is lost here
is only the sight of words that the answer brings anyway.
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

PAUSE_SECONDS = 0.2  # between two writings
MAX_CHARACTERS = 4_000  # of the end of a text: more is not read while it grows


class LiveStreamPreview:
    """The words of one streamed answer."""

    def __init__(
        self, run: Run, call_id: UUID, sequence: int, agent: str, masker: Masker
    ) -> None:
        """Take what the words belong to; nothing is written before the first."""
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
        self._more = asyncio.Event()

    def add(self, piece: str) -> None:
        """Show a piece more, in a moment."""
        self._pieces.append(piece)
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._keep_shown())

    async def end(self) -> None:
        """Show it no longer."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._writing is not None:
            await self._writing  # else it would put back what is removed here
        await self._try(LiveText.objects.filter(pk=self._row.pk).delete)
        await self._tell()

    async def _keep_shown(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            text, kept_back = self._masker.growing("".join(self._pieces))
            text = text[-MAX_CHARACTERS:]
            self._pieces = [text, kept_back]
            self._row.text = text.replace(RESERVED, "\ufffd")
            self._row.updated_at = timezone.now()
            self._writing = asyncio.create_task(self._try(self._write))
            await asyncio.shield(self._writing)
            await self._tell()
            await asyncio.sleep(PAUSE_SECONDS)

    def _write(self) -> None:
        LiveText.objects.bulk_create(
            [self._row],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["text", "updated_at"],
        )

    async def _try(self, write: object) -> None:
        """Write; a database that refuses costs the sight of the words, not the run."""
        try:
            await run_in_db(write)  # type: ignore[arg-type]
        except DatabaseError:
            logger.warning(
                "The words of run %s are not shown.", self._run.pk, exc_info=True
            )

    async def _tell(self) -> None:
        await notifications.send(
            notifications.PAGES,
            {"type": notifications.STREAM_PREVIEW, "run": str(self._run.pk)},
        )


def forget(run_id: UUID) -> None:
    """Remove what a worker that is gone left of answers that will never end."""
    LiveText.objects.filter(run=run_id).delete()
