"""`manage.py check_routing`: fail if recorded runs would be routed differently by today's code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from django.core.management.base import BaseCommand

from workflows.engine.errors import RequestError
from workflows.management import what_if_output
from workflows.management.run_selection import add_period
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from workflows.services.what_if import Report

DIFFERENT, NOT_CHECKED = 1, 2  # exit codes


class Command(BaseCommand):
    """Evaluate the decisions of runs again; exit 1 for another one, 2 if none was checked."""

    help = (
        "Evaluate the recorded decisions of runs with the conditions of today, for CI. Exits"
        " with 1 if a run would be routed differently or a condition fails, with 2 if decisions"
        " could not be evaluated or none was. Executes no node and writes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the selection of runs."""
        parser.add_argument("run", nargs="*", type=UUID, help="full IDs of runs")
        parser.add_argument("--workflow", help="only runs of this workflow")
        parser.add_argument("--label", help="only runs with this label")
        parser.add_argument(
            "--golden",
            nargs="?",
            const="",
            metavar="DATASET",
            help="only golden runs, of one dataset or of all",
        )
        add_period(parser)
        parser.add_argument(
            "--json", action="store_true", help="one JSON object per line"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check the runs of each workflow, and print the reports."""
        selected = system.select_runs(
            ids=options["run"],
            workflow=options["workflow"] or "",
            label=options["label"] or "",
            golden=options["golden"],
            since=options["since"],
            until=options["until"],
        )
        if missing := set(options["run"]) - set(selected.values_list("pk", flat=True)):
            self._fail(f"Not found, or not selected: {', '.join(map(str, missing))}.")
        reports = []
        names = selected.order_by("workflow_name").values_list(
            "workflow_name", flat=True
        )
        for name in list(names.distinct()):
            try:
                checked = system.check_routing(name, selected)
            except RequestError as error:
                self._fail(str(error))
            lines = (
                what_if_output.json_lines(checked, name)
                if options["json"]
                else what_if_output.text(checked, name)
            )
            for line in lines:
                self.stdout.write(line)
            reports.append(checked.report)
        self._exit(reports)

    def _exit(self, reports: list[Report]) -> None:
        if any(one.runs_elsewhere or one.runs_failed for one in reports):
            sys.exit(DIFFERENT)
        if any(one.unexpected for one in reports):
            self._fail("Not every decision could be evaluated.")
        if not any(one.decisions or one.unconditional for one in reports):
            self._fail("No decision was evaluated: check the selection of runs.")

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(NOT_CHECKED)
