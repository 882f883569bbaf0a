"""`manage.py usage`: tokens and cost of agents by person, workflow, profile, agent or day."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workflows.pages.views.usage import csv_of
from workflows.services.usage_reports import COLUMNS, UsageFilter
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

DAYS, MAX_DAYS = 30, 36_500


class Command(BaseCommand):
    """Print a report as CSV."""

    help = "Print tokens and cost of agents as CSV: by person, workflow, profile, agent or day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--by", choices=list(COLUMNS), default="person")
        parser.add_argument(
            "--person", default="", help="only this person, by user name"
        )
        parser.add_argument("--workflow", default="", help="only this workflow")
        parser.add_argument(
            "--profile", help="only this profile; “” for calls without one"
        )
        parser.add_argument(
            "--days", type=int, default=DAYS, help="the last days; 0 for all time"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the groups, the largest first."""
        wanted = UsageFilter(
            by=options["by"],
            person=options["person"],
            workflow=options["workflow"],
            profile=options["profile"],
            since=_since(options["days"]),
        )
        report = system.usage_report(wanted)
        text = "".join(csv_of(report, wanted.by)).removeprefix("\ufeff")
        self.stdout.write(text, ending="")


def _since(days: int) -> dt.datetime | None:
    if not 0 <= days <= MAX_DAYS:
        raise CommandError("Give 0 to 36,500 days: 0 for all time.")
    return timezone.now() - dt.timedelta(days=days) if days else None
