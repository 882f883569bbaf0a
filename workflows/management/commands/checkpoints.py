"""`manage.py checkpoints RUN`: print the state changes of a run by step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from workflows.engine.errors import CheckpointMismatch
from workflows.engine.json_patch import diff
from workflows.errors import RunNotFound
from workflows.execution.checkpoints import rebuild, states
from workflows.models import Checkpoint
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Print the changes of each step, or one state; report damaged rows."""

    help = "Print the state changes of each step of a run, or one state with --at."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the run and the step."""
        parser.add_argument("run", help="full ID of the run")
        parser.add_argument("--at", type=int, help="print the state after this step")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rebuild states from the rows; report a missing or damaged one."""
        try:
            run = system.find_run(options["run"])
            if options["at"] is None:
                self._changes(run.pk)
            else:
                self._state(run.pk, options["at"])
        except (RunNotFound, CheckpointMismatch) as error:
            raise CommandError(str(error)) from error

    def _state(self, run_id: Any, at: int) -> None:
        snapshot = rebuild(run_id, at)
        if snapshot is None or snapshot.sequence != at:
            raise CommandError(f"Run {run_id} has no checkpoint of step {at}.")
        self.stdout.write(json.dumps(snapshot.data, indent=2, ensure_ascii=False))

    def _changes(self, run_id: Any) -> None:
        rows = Checkpoint.objects.filter(run_id=run_id).order_by("sequence")
        if not rows:
            self.stdout.write(f"Run {run_id} has no checkpoints.")
            return
        before: Any = None
        for row, snapshot in zip(rows, states(rows), strict=True):
            where = f"{row.sequence}. {row.node_name or 'start'}"
            self.stdout.write(f"{where} ({row.get_kind_display()}, {row.bytes} bytes)")
            if before is not None:
                for operation in diff(before, snapshot.data):
                    self.stdout.write(
                        f"    {json.dumps(operation, ensure_ascii=False)}"
                    )
            before = snapshot.data
