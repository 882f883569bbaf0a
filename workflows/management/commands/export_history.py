"""`manage.py export_history RUN --to FILE`: a run's history as a signed bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from workflows.audit.bundle_export import pieces, public_key
from workflows.errors import RunNotFound
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Write a signed bundle that can be verified without this installation."""

    help = "Export a run with its history as a signed JSON file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the run and the file."""
        parser.add_argument("run", help="full ID of a run")
        parser.add_argument("--to", type=Path, required=True, help="file to write")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write to a temporary file, then rename it."""
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
            raise CommandError(f"Cannot write the file: {error}") from error
        self.stdout.write(
            f"Exported run {run.pk} to {file}. Verify it with\n"
            f"python -m workflows.audit.verify_bundle {file} --key {public_key()}"
        )
