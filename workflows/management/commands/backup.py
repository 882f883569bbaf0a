"""`manage.py backup`: write database and documents into one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workflows.ops import backup
from workflows.ops.database_copies import CopyFailed
from workflows.pages.render.text import size
from workflows.runtime.errors import StorageFailed

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Write a backup while the installation is in use."""

    help = (
        "Write the database and the stored documents into one file, while servers and"
        " workers run. SECRET_KEY is not part of it: keep it elsewhere."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the file."""
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            help="where to write; a directory gets a file named for the time; default: here",
        )
        parser.add_argument(
            "--without-documents",
            action="store_true",
            help="the database only, for example with documents in S3",
        )

    def handle(self, *, file: Path | None, without_documents: bool, **_: Any) -> None:
        """Write the file and print what it contains."""
        path = _target(file or Path.cwd())
        try:
            manifest = backup.create(path, with_media=not without_documents)
        except StorageFailed as failed:
            raise CommandError(f"{failed} ({failed.__cause__})") from failed
        except (CopyFailed, OSError) as error:
            raise CommandError(f"No backup was made: {error}") from error
        self.stdout.write(
            f"{path}: {size(path.stat().st_size)}, readable by its owner only."
        )
        for name in manifest.missing:
            self.stderr.write(
                f"The file “{name}” is not in storage, and not in the backup."
            )
        self.stdout.write(
            "Keep SECRET_KEY (the file `secret-key` in DATA_DIR, or the setting) in another"
            " place: without it, stored secrets cannot be read after a restore."
        )


def _target(path: Path) -> Path:
    if path.is_dir():
        return path / f"signalbox-{timezone.now():%Y%m%d-%H%M%S}.tar.gz"
    if path.exists():
        raise CommandError(f"“{path}” exists: choose another name, or remove it.")
    return path.absolute()
