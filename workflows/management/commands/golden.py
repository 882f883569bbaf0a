"""`manage.py golden`: rerun golden runs and report what differs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import BaseCommand

from workflows.engine.errors import RequestError
from workflows.models import AnswerSource
from workflows.services import golden_reports, golden_runs
from workflows.services.golden_rerun import Mode, compare
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from workflows.models import GoldenRun

DIFFERENCES = 1
BAD_INPUT = 2


class Command(BaseCommand):
    """Rerun golden runs in memory; exit with a code for CI."""

    help = (
        "Rerun golden runs in memory and report what differs. Exits 0 if all are the same,"
        " 1 if any differs or cannot be compared, 2 for bad input."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the selection, how to rerun, and the report."""
        parser.add_argument(
            "workflow", nargs="?", default="", help="only those of this workflow"
        )
        parser.add_argument("--dataset", default="", help="only those of this dataset")
        parser.add_argument(
            "--profile",
            action="append",
            help="rerun with this profile, '' for the workflow's defaults; may be repeated;"
            " each run's own profile if omitted",
        )
        parser.add_argument(
            "--answers",
            choices=AnswerSource.values,
            default=AnswerSource.RECORDED.value,
            help="recorded answers of agents (the default), or real ones, which cost",
        )
        parser.add_argument(
            "--allow-effects",
            action="store_true",
            help="also rerun workflows with nodes that declare effects",
        )
        parser.add_argument(
            "--format", choices=golden_reports.FORMATS, default="text", dest="kind"
        )
        parser.add_argument("--output", type=Path, help="write the report to this file")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rerun, store the results, report."""
        goldens = self._selected(options["workflow"], options["dataset"])
        answers = AnswerSource(options["answers"])
        modes = [
            Mode(profile, answers, options["allow_effects"])
            for profile in options["profile"] or [None]
        ]
        found = []
        for golden in goldens:
            for mode in modes:
                comparison = compare(golden, mode)
                comparison.store()
                found.append(comparison)
        self._write(golden_reports.report(found, options["kind"]), options["output"])
        if not golden_reports.are_all_same(found):
            sys.exit(DIFFERENCES)

    def _selected(self, workflow: str, dataset: str) -> list[GoldenRun]:
        try:
            if workflow:
                system.find_workflow(workflow)
            dataset = golden_runs.clean_dataset(dataset) if dataset else ""
        except RequestError as error:
            self._fail(str(error))
        rows = list(golden_runs.golden_runs(workflow, dataset))
        if not rows:
            self._fail(
                "There are no such golden runs: mark runs golden on their pages."
            )
        return rows

    def _write(self, text: str, output: Path | None) -> None:
        if output is None:
            self.stdout.write(text)
            return
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            self._fail(f"{output} cannot be written: {error.strerror}.")

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(BAD_INPUT)
