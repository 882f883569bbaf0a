"""`manage.py demo`: fill an installation with a week of demo data, or remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError
from django.utils import timezone

from workflows.models import Run

if TYPE_CHECKING:
    from django.core.management import CommandParser


class Command(BaseCommand):
    """Real runs of the shipped workflows, moved to the times of a week; takes a minute or two."""

    help = (
        "Fill with a week of demo data: people, runs, approvals, schedules, failures."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--force", action="store_true", help="also in a database that has runs"
        )
        parser.add_argument(
            "--remove", action="store_true", help="remove the demo data again"
        )

    def handle(self, *, force: bool, remove: bool, **_: Any) -> None:
        """Fill, or remove."""
        from workflows.management.demo import fill, story  # noqa: PLC0415 - PDFium

        if remove:
            fill.remove(write=self.stdout.write)
            return
        if Run.objects.exists() and not force:
            raise CommandError(
                "This database has runs. --force adds the demo data to them, --remove"
                " removes it again."
            )
        by = (
            User.objects.filter(is_superuser=True, is_active=True)
            .order_by("pk")
            .first()
        )
        if by is None:
            raise CommandError("No superuser yet: run `manage.py prepare` first.")
        demo = fill.fill(
            by=by, events=story.events(timezone.localtime()), write=self._progress
        )
        runs = len(demo.rows["runs"])
        self.stdout.write(
            f"{runs} runs of a week, with people, approvals and schedules. Remove them with"
            " `manage.py demo --remove`."
        )

    def _progress(self, text: str) -> None:
        self.stderr.write(f"\r{text}", ending="")
