"""`manage.py prune [--dry-run] [--workflow NAME]`: apply the retention rules now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.template.defaultfilters import filesizeformat

from workflows.retention.preview import preview
from workflows.retention.purge import purge_due
from workflows.retention.rules import jobs_due

if TYPE_CHECKING:
    from argparse import ArgumentParser

NO_LIMIT = 2**31  # runs counted per rule


class Command(BaseCommand):
    """Delete data, runs and histories that are due; safe while workers are active."""

    help = (
        "Delete what the retention rules select, in small transactions; can be interrupted"
        " and continued. Active and pinned runs are exempt."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="show what would be deleted, delete nothing",
        )
        parser.add_argument("--workflow", default="", help="only runs of this workflow")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Delete or preview, and print the numbers."""
        if options["dry_run"]:
            self._preview(options["workflow"])
            return
        gone = purge_due(options["workflow"])
        self.stdout.write(
            f"Deleted: content of agent calls of {gone.contents} runs, data of"
            f" {gone.payloads} runs, {gone.runs} runs,"
            f" histories of {gone.histories} runs, {gone.jobs} bulk operations,"
            f" {gone.deliveries} deliveries to webhooks."
        )

    def _preview(self, only: str) -> None:
        found = preview(only, most=NO_LIMIT)
        if not found:
            self.stdout.write("No rule applies to a workflow that has ever run.")
        for one in found:
            for what, days, part in one.parts:
                when = f"after {days} days" if days else "never"
                size = filesizeformat(part.bytes).replace("\xa0", " ")
                self.stdout.write(
                    f"{one.rule.workflow_name}: {what} ({when}):"
                    f" {part.runs} runs, {part.rows} rows, about {size}"
                )
        if found and not only:
            self.stdout.write(f"bulk operations: {jobs_due().count()}")
