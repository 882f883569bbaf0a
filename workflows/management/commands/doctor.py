"""`manage.py doctor`: check what the installation needs, and say what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand

from workflows.ops import diagnosis

if TYPE_CHECKING:
    from argparse import ArgumentParser

MARKS: Final = {"ok": "ok", "warning": "WARN", "failed": "FAIL", "skipped": "–"}
FAILED: Final = 1  # exit code


class Command(BaseCommand):
    """Print a line for each finding; exit with 1 if a part failed."""

    requires_system_checks = ()  # they are findings
    help = (
        "Check settings, database, Redis, workers, disk, storage, mail, keys, clock and"
        " providers, with what to do about each problem. Exits with 1 if a part failed."
        " Safe to run while the server is active."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the format."""
        parser.add_argument(
            "--json", action="store_true", help="one JSON object per line"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print findings as they are made."""
        levels = []
        for finding in diagnosis.findings():
            levels.append(finding.level)
            if options["json"]:
                line = json.dumps(asdict(finding), ensure_ascii=False)
            else:
                line = f"{MARKS[finding.level]:<5} {finding.part:<10} {finding.message}"
            self.stdout.write(line)
            self.stdout.flush()
        failed, warnings = levels.count("failed"), levels.count("warning")
        if not options["json"]:
            self.stdout.write(f"Failed: {failed}. Warnings: {warnings}.")
        if failed:
            sys.exit(FAILED)
