"""`manage.py prune_media`: delete files without a row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.core.files.storage import default_storage
from django.core.management import BaseCommand, CommandError
from django.utils import timezone

from workflows.documents.storage import names_of_files, storage_errors
from workflows.models import Document, PageImage, RunFile
from workflows.pages.render.text import size
from workflows.runtime.errors import StorageFailed

if TYPE_CHECKING:
    from argparse import ArgumentParser

FOLDERS = ("documents", "pages", "run-files")  # other folders are not touched
GRACE_PERIOD = dt.timedelta(hours=1)  # a file is stored before its row


class Command(BaseCommand):
    """Delete files that a killed process left without a row."""

    help = "Delete stored files without a row, and rows of page images without a file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the option."""
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be deleted"
        )

    def handle(self, *, dry_run: bool, **_: Any) -> None:
        """Delete orphaned files and rows, and print the numbers."""
        will = "would be removed" if dry_run else "removed"
        try:
            with storage_errors():
                stored = set(_files())
            self._remove_orphans(stored - {*names_of_files()}, will, dry_run=dry_run)
            self._delete_images(stored, will, dry_run=dry_run)
            self._report_missing_documents(stored)
        except StorageFailed as failed:
            raise CommandError(f"{failed} ({failed.__cause__})") from failed

    def _remove_orphans(self, orphans: set[str], will: str, *, dry_run: bool) -> None:
        count = total = 0
        for name in sorted(orphans):
            with storage_errors():
                if _is_young(name):
                    continue
                count, total = count + 1, total + default_storage.size(name)
                if not dry_run:
                    default_storage.delete(name)
            self.stdout.write(f"{name} {will}")
        self.stdout.write(f"{count} files ({size(total)}) {will}.")

    def _delete_images(self, stored: set[str], will: str, *, dry_run: bool) -> None:
        gone = [
            image.pk
            for image in PageImage.objects.iterator()
            if _is_gone(str(image.file.name), stored)
        ]
        if not dry_run:
            PageImage.objects.filter(pk__in=gone).delete()
        if gone:
            self.stdout.write(f"{len(gone)} page images without a file {will}.")

    def _report_missing_documents(self, stored: set[str]) -> None:
        """Report documents and files of runs without a file; an operator has to decide."""
        rows: Iterator[Document | RunFile] = chain(
            Document.objects.iterator(), RunFile.objects.iterator()
        )
        for row in rows:
            if _is_gone(str(row.file.name), stored):
                self.stderr.write(f"The file of “{row.name}” ({row.pk}) is gone.")


def _files() -> Iterator[str]:
    """Yield the names of all our files in storage."""
    waiting = list(FOLDERS)
    while waiting:
        folder = waiting.pop()
        try:
            folders, files = default_storage.listdir(folder)
        except FileNotFoundError:
            continue
        waiting += [f"{folder}/{name}" for name in folders]
        yield from (f"{folder}/{name}" for name in files)


def _is_gone(name: str, stored: set[str]) -> bool:
    """Return whether a file is missing; checks files newer than the listing."""
    if name in stored:
        return False
    with storage_errors():
        return not default_storage.exists(name)


def _is_young(name: str) -> bool:
    return default_storage.get_modified_time(name) > timezone.now() - GRACE_PERIOD
