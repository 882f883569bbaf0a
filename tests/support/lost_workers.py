"""Workers that lose a run right after one of its commits, as when their process is killed there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from workflows.execution.recovery import close_attempt
from workflows.execution.writer import Writer
from workflows.infra import notifications
from workflows.models import Outcome, Run, Suspicion


def lose(run_id: UUID) -> None:
    """Return a run to the queue if a worker holds it; what that worker writes is refused."""
    with transaction.atomic():
        run = Run.objects.get(pk=run_id)
        if Run.objects.filter(pk=run_id).recover(Suspicion.NONE):
            close_attempt(run, Outcome.LOST, "The worker was killed.", "worker_lost")
            notifications.pending_on_commit()


class Commits:
    """Counts the commits of each run, and loses it after the one with its number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: dict[UUID, int] = {}
        self.lost_after = 0  # of every run; 0: none is lost
        self._commit = Writer._commit  # noqa: SLF001 - where a process may end
        monkeypatch.setattr(Writer, "_commit", self._counted())

    def _counted(self) -> Any:
        def commit(writer: Writer, batch: Sequence[Any]) -> dict[UUID, int]:
            versions = self._commit(writer, batch)
            for run_id in versions:
                self.made[run_id] = self.made.get(run_id, 0) + 1
                if self.made[run_id] == self.lost_after:
                    lose(run_id)
            return versions

        return commit
