"""`manage.py restore`: replace database and documents by those of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from workflows.ops import backup
from workflows.ops.backup_archive import BackupInvalid
from workflows.ops.database_copies import CopyFailed
from workflows.runtime.errors import StorageFailed

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Restore a backup into an installation whose processes are stopped."""

    requires_system_checks = ()  # the database may be empty
    help = (
        "Replace the database by that of a backup and store its documents. Stop all servers"
        " and workers first. The whole file is verified before anything is changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the file and what to accept."""
        parser.add_argument("file", type=Path, help="what `manage.py backup` wrote")
        parser.add_argument(
            "--replace", action="store_true", help="although this database has runs"
        )
        parser.add_argument(
            "--other-key",
            action="store_true",
            help="although the backup was made with another SECRET_KEY",
        )

    def handle(self, *, file: Path, replace: bool, other_key: bool, **_: Any) -> None:
        """Restore, migrate and print what was done."""
        try:
            restored = backup.restore(file, replace=replace, other_key=other_key)
        except (BackupInvalid, backup.RestoreRefused) as refused:
            raise CommandError(f"{refused} Nothing was changed.") from refused
        except StorageFailed as failed:
            raise CommandError(
                f"{failed} ({failed.__cause__}) Repeat the restore."
            ) from failed
        except CopyFailed as failed:
            raise CommandError(
                f"{failed} The database is as it was before."
            ) from failed
        except OSError as error:
            raise CommandError(f"“{file}” cannot be read: {error}") from error
        call_command("migrate", interactive=False, verbosity=0)
        backup.record(restored)
        made = restored.manifest.created_at
        self.stdout.write(
            f"Restored the backup of {made}: the database, {restored.files} files"
            f" ({restored.kept} were in storage already)."
        )
        for name in restored.manifest.missing:
            self.stderr.write(f"The file “{name}” was not in the backup.")
        self.stdout.write(
            "Check it with `manage.py verify_history`, then start the processes."
        )
