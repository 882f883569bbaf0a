"""`manage.py verify_history [RUN]`: verify the sealed history."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from workflows.audit.verifier import Checker, has_key
from workflows.models import RemovedRun, Run

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable

    from workflows.audit.chain_verification import Finding
    from workflows.audit.verifier import Tally

NOT_AS_RECORDED, NO_KEY = 1, 2  # exit codes


class Command(BaseCommand):
    """Verify the chains of one run, or of all, and report every deviation."""

    help = (
        "Verify stages, decisions and audit events. Reports every row that was changed,"
        " removed, added or moved, and exits with 1 if there is one, with 2 if no"
        " configured key fits. Safe to run while workers are active."
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
        if not has_key():
            raise CommandError(
                "Nothing was verified: neither AUDIT_KEYS nor SECRET_KEY and its fallbacks"
                " contain a key that fits the history. Run the command with the keys of"
                " the server that wrote it.",
                returncode=NO_KEY,
            )
        found: Iterable[Finding] = (
            checker.everything()
            if run_id is None
            else chain(checker.run(run_id), checker.beginning())
        )
        number = 0
        for finding in found:
            number += 1
            self.stdout.write(str(finding))
        self._summarize(checker.tally, number)
        if number:
            sys.exit(NOT_AS_RECORDED)

    def _summarize(self, tally: Tally, findings: int) -> None:
        summary = {0: "no findings", 1: "1 finding"}.get(
            findings, f"{findings} findings"
        )
        self.stdout.write(
            f"Verified {tally.runs} runs with {tally.rows} rows: {summary}."
        )
        if not tally.unsealed:
            return
        if tally.since is None:
            why = "have no seal; it is not known whether sealing had begun"
        else:
            why = (
                f"are from before {tally.since:%Y-%m-%d %H:%M} UTC, when sealing began,"
                " and cannot be verified"
            )
        self.stdout.write(f"{tally.unsealed} rows {why}.")


def _is_known(run_id: UUID) -> bool:
    there = Run.objects.filter(pk=run_id).exists()
    return there or RemovedRun.objects.filter(pk=run_id).exists()
