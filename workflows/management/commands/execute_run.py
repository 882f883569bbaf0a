"""`manage.py execute_run`: the child process of a worker; not for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand

from project.shutdown import end_within
from project.telemetry import exporting_traces
from workflows.engine.process_limits import bind_to_parent, limit_memory
from workflows.engine.protected_loop import ResilientLoop
from workflows.execution.suspect_process import SuspectRun
from workflows.models import Run

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Execute one run that a worker has claimed, then exit 0."""

    help = "Execute a run that a worker has claimed. Started by workers only."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("run", type=UUID)
        parser.add_argument("attempt", type=int)
        parser.add_argument("worker")
        parser.add_argument("messages", type=int, help="descriptor of a pipe")

    def handle(
        self, *, run: UUID, attempt: int, worker: str, messages: int, **_: Any
    ) -> None:
        """Execute the run on a separate event loop."""
        bind_to_parent()
        if settings.SUSPECT_MEMORY_MB:
            limit_memory(settings.SUSPECT_MEMORY_MB * 1_000_000)
        suspect = SuspectRun(Run(pk=run, attempt=attempt, worker=worker), messages)
        suspect.listen()
        # SystemExit raised by workflow code must not end the process
        with asyncio.Runner(loop_factory=ResilientLoop) as runner:
            with exporting_traces():
                runner.run(suspect.execute())
            end_within()
