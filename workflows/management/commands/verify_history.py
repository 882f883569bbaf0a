"""`manage.py verify_history [RUN]`: is the history what was recorded?"""

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
    """Walk the chains of one run, or of all, and name every row that does not fit."""

    help = (
        "Tell whether stages, decisions and audit events are what was recorded. Names"
        " every row that was changed, removed, added or moved; exits with 1 if there is"
        " one. It may run beside workers."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the run, if it is to be only one."""
        parser.add_argument("run", nargs="?", type=UUID, help="whole id of a run")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print what does not fit as it is found, then how much was looked at."""
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
        came = {0: "all of them fit", 1: "one thing does not fit"}
        said = came.get(number, f"{number} things do not fit")
        self.stdout.write(
            f"{tally.runs} runs with {tally.rows} rows were looked at: {said}."
        )
        if tally.unsealed:
            self.stdout.write(
                f"{tally.unsealed} rows are from before {tally.since:%Y-%m-%d %H:%M}"
                " UTC, when sealing began: they are not vouched for."
            )
        if number:
            sys.exit(NOT_AS_RECORDED)


def _is_known(run_id: UUID) -> bool:
    there = Run.objects.filter(pk=run_id).exists()
    return there or RemovedRun.objects.filter(pk=run_id).exists()
