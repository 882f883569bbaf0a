"""`manage.py export_history RUN --to FILE`: a run's history as a signed bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from workflows.audit.exporter import pieces, public_key
from workflows.errors import RunNotFound
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Write a bundle that can be verified without this installation."""

    help = "Write a run with its history, hashed and signed, into a JSON file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the run and the file."""
        parser.add_argument("run", help="whole id of a run")
        parser.add_argument("--to", type=Path, required=True, help="file to write")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it beside the file, then put it in its place."""
        try:
            run = system.find_run(options["run"])
        except RunNotFound as error:
            raise CommandError(str(error)) from error
        file: Path = options["to"]
        unfinished = file.with_name(f"{file.name}.unfinished")
        try:
            with unfinished.open("w", encoding="utf-8") as out:
                out.writelines(pieces(run))
            unfinished.replace(file)
        except OSError as error:
            raise CommandError(f"It cannot be written: {error}") from error
        self.stdout.write(
            f"{file} holds run {run.pk}. Verify it anywhere with\n"
            f"python -m workflows.audit.verify {file} --key {public_key()}"
        )
