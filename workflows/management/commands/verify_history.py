"""`manage.py verify_history [RUN]`: verify the sealed history."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from workflows.audit.verifier import Checker
from workflows.models import RemovedRun, Run

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable

    from workflows.audit.chain_walker import Finding

NOT_AS_RECORDED = 1  # exit code


class Command(BaseCommand):
    """Verify the chains of one run, or of all, and report every deviation."""

    help = (
        "Verify stages, decisions and audit events. Reports every row that was changed,"
        " removed, added or moved, and exits with 1 if there is one. Safe to run while"
        " workers are active."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the optional run."""
        parser.add_argument("run", nargs="?", type=UUID, help="full ID of a run")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print findings as they occur, then the number of verified rows."""
        checker, run_id = Checker(), options["run"]
        if run_id is not None and not _is_known(run_id):
            raise CommandError(
                f"Run {run_id} not found, and no record of its deletion."
            )
        found: Iterable[Finding] = (
            checker.everything() if run_id is None else checker.run(run_id)
        )
        number = 0
        for finding in found:
            number += 1
            self.stdout.write(str(finding))
        tally = checker.tally
        summary = {0: "no findings", 1: "1 finding"}.get(number, f"{number} findings")
        self.stdout.write(
            f"Verified {tally.runs} runs with {tally.rows} rows: {summary}."
        )
        if tally.unsealed:
            self.stdout.write(
                f"{tally.unsealed} rows are from before {tally.since:%Y-%m-%d %H:%M}"
                " UTC, when sealing began, and cannot be verified."
            )
        if number:
            sys.exit(NOT_AS_RECORDED)


def _is_known(run_id: UUID) -> bool:
    there = Run.objects.filter(pk=run_id).exists()
    return there or RemovedRun.objects.filter(pk=run_id).exists()
