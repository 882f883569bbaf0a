"""`manage.py launch_batch NAME FILE --by USER`: launch a run for each row of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from workflows import bulk
from workflows.engine.errors import InputInvalid, RequestError
from workflows.models import BulkJob
from workflows.pages.forms.batch import kind_of, read_batch
from workflows.pages.views.workflows import params_schema
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from workflows.pages.forms.batch import Batch

BAD_INPUT = 2


class Command(BaseCommand):
    """Check every row, then launch all of them as a bulk operation."""

    help = (
        "Launch a run for each row of a CSV or JSON Lines file. All rows are checked first;"
        " exits 2, and launches nothing, if one is invalid. Workers launch the runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the workflow, the file and the options."""
        parser.add_argument("name", help="name of the workflow")
        parser.add_argument("file", type=Path, help="CSV with a header, or JSON Lines")
        parser.add_argument(
            "--by", required=True, metavar="USER", help="who launches the runs"
        )
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="COLUMN=PARAM",
            help="parameter of a column; COLUMN= ignores it",
        )
        parser.add_argument(
            "--profile",
            help="profile of the workflow, '' for its defaults; by weight if omitted",
        )
        parser.add_argument(
            "--priority", type=int, default=0, help="higher priority starts first"
        )
        parser.add_argument(
            "--check", action="store_true", help="check the rows, launch nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check the rows, and launch them."""
        user = User.objects.filter(username=options["by"], is_active=True).first()
        if user is None:
            self._fail(f"There is no active user “{options['by']}”.")
        try:
            batch = self._read(options, user)
            if batch.errors:
                self._report(batch)
            if options["check"]:
                self.stdout.write(f"{batch.total} rows are valid.")
                return
            job = bulk.start_launches(
                options["name"],
                batch.params,
                by=user,
                profile=options["profile"],
                priority=options["priority"],
            )
        except InputInvalid as error:
            self._fail(
                "\n".join(
                    f"{name}: {text}" if name else text
                    for name, texts in error.errors.items()
                    for text in texts
                )
            )
        except (RequestError, OSError) as error:
            self._fail(str(error))
        self._print(job)

    def _read(self, options: dict[str, Any], user: User) -> Batch:
        workflow = system.find_workflow(options["name"], by=user)
        with options["file"].open("rb") as file:
            data = file.read(settings.MAX_BATCH_BYTES + 1)
        pairs = (text.partition("=") for text in options["map"])
        return read_batch(
            workflow,
            params_schema(workflow),
            data,
            kind_of(options["file"].name),
            by=user,
            mapping={column: path for column, _, path in pairs},
        )

    def _report(self, batch: Batch) -> NoReturn:
        for error in batch.shown:
            self.stderr.write(f"Line {error.line}, {error.place}: {error.message}")
        if batch.more:
            self.stderr.write(f"{batch.more} more errors.")
        self._fail("Nothing was launched.")

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(self.style.ERROR(message))
        sys.exit(BAD_INPUT)

    def _print(self, job: BulkJob) -> None:
        self.stdout.write(
            f"Batch {job.pk}: {job.total} rows, {job.done} launched,"
            f" {job.refused} refused, {job.remaining} waiting for a worker."
        )
