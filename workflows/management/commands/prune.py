"""`manage.py prune [--dry-run] [--workflow NAME]`: let go of what the rules let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.template.defaultfilters import filesizeformat

from workflows.retention.preview import preview
from workflows.retention.purge import let_go
from workflows.retention.rules import jobs_due

if TYPE_CHECKING:
    from argparse import ArgumentParser

EVERYTHING = 2**31  # runs looked at for one number


class Command(BaseCommand):
    """Let go of payloads, runs and histories whose time has come, beside live workers."""

    help = (
        "Remove what the rules of retention let go, in small transactions; it may be"
        " interrupted and goes on the next time. Runs that have not ended and golden ones"
        " are not touched."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whether it is meant, and whose runs."""
        parser.add_argument(
            "--dry-run", action="store_true", help="tell what would go, remove nothing"
        )
        parser.add_argument("--workflow", default="", help="only runs of this one")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Tell what would go, or what went."""
        if options["dry_run"]:
            self._tell(options["workflow"])
            return
        gone = let_go(options["workflow"])
        self.stdout.write(
            f"Let go: payloads of {gone.payloads} runs, {gone.runs} runs,"
            f" histories of {gone.histories} runs, {gone.jobs} jobs."
        )

    def _tell(self, only: str) -> None:
        found = preview(only, most=EVERYTHING)
        if not found:
            self.stdout.write("No rule is for a workflow that has ever run.")
        for one in found:
            for what, days, part in one.told:
                when = f"after {days} days" if days else "never"
                size = filesizeformat(part.bytes).replace("\xa0", " ")
                self.stdout.write(
                    f"{one.rule.workflow_name}: {what} ({when}):"
                    f" {part.runs} runs, {part.rows} rows, about {size}"
                )
        if found and not only:
            self.stdout.write(f"deeds on many runs: {jobs_due().count()} jobs")
