"""`manage.py what_if WORKFLOW`: which runs would go elsewhere with other thresholds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.core.management.base import BaseCommand

from workflows.engine.errors import RequestError
from workflows.management import what_if_output
from workflows.management.run_selection import add_period
from workflows.registry import registry
from workflows.services.what_if import Limits
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

BAD_INPUT: Final = 2  # exit code


class Command(BaseCommand):
    """Evaluate recorded decisions again; exit 2 if that is refused."""

    help = (
        "Evaluate recorded decisions with the conditions of today, with other thresholds, or"
        " with another version of the workflow's file, and report which runs would have gone"
        " elsewhere. Executes no node and writes nothing. Exits with 2 if the input is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the workflow, the selection of runs, and what is other than today."""
        parser.add_argument("workflow", help="name of the workflow")
        add_period(parser)
        parser.add_argument(
            "--set",
            dest="given",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="another value of a threshold; repeatable. --thresholds lists the names",
        )
        parser.add_argument(
            "--file", type=Path, help="another version of the workflow's Python file"
        )
        parser.add_argument(
            "--limit", type=int, help="evaluate the newest runs, up to this many"
        )
        parser.add_argument(
            "--thresholds",
            action="store_true",
            help="list what --set can set, and exit",
        )
        parser.add_argument(
            "--json", action="store_true", help="one JSON object per line"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Evaluate the runs, the newest first, and print the report."""
        name = options["workflow"]
        try:
            if options["thresholds"]:
                self._list_thresholds(name)
                return
            file = options["file"]
            evaluated = system.what_if(
                name,
                self._settings(options["given"]),
                since=options["since"],
                until=options["until"],
                limits=Limits(runs=options["limit"]),
                workflow=registry.load_version(name, file) if file else None,
            )
        except RequestError as error:
            self._fail(str(error))
        lines = (
            what_if_output.json_lines(evaluated, name)
            if options["json"]
            else what_if_output.text(evaluated, name)
        )
        for line in lines:
            self.stdout.write(line)

    def _list_thresholds(self, name: str) -> None:
        for one in system.list_thresholds(name):
            default = "no default" if one.value is None else str(one.value)
            self.stdout.write(f"{one.name} = {default}  ({one.what})")

    def _settings(self, given: list[str]) -> dict[str, str]:
        settings = {}
        for one in given:
            name, separator, text = one.partition("=")
            if not separator:
                self._fail(f"--set {one}: give NAME=VALUE.")
            settings[name.strip()] = text.strip()
        return settings

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(BAD_INPUT)
