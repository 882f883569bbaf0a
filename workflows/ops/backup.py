"""Back up an installation into one file, and restore it.

The database is copied as of one moment, then the files that its rows refer to; a file is
never changed once it is stored. `SECRET_KEY` is not part of a backup: a file with both
would give its reader every stored secret.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from workflows import __version__
from workflows.audit import audit_events, keys
from workflows.documents.storage import names_of_files, storage_errors
from workflows.execution import workers
from workflows.models import Run
from workflows.ops import backup_archive, database_copies
from workflows.ops.backup_archive import DIGESTS, MANIFEST, MEDIA, Manifest
from workflows.runtime.errors import StorageFailed

ACTION: Final = "restore backup"


class RestoreRefused(Exception):
    """Restoring would lose something; the message says what, and the remedy."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    files: int
    kept: int  # files that were in storage already


# Backup ---------------------------------------------------------------------------------


def create(path: Path, *, with_media: bool) -> Manifest:
    """Write a backup while the installation is in use; return its manifest.

    Raises StorageFailed, CopyFailed, OSError; then no file is left.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as directory:
        copy = Path(directory) / database_copies.MEMBERS[database_copies.kind()]
        database_copies.dump(copy)
        names = list(names_of_files()) if with_media else []
        missing = [name for name in names if not _exists(name)]
        manifest = Manifest(
            format=backup_archive.FORMAT,
            version=__version__,
            created_at=timezone.now().isoformat(timespec="seconds"),
            database=database_copies.kind(),
            key=key_id(),
            migrations=_applied(),
            has_media=with_media,
            missing=missing,
        )
        with backup_archive.writing(path, manifest) as writer:
            with copy.open("rb") as content:
                writer.add(copy.name, content, copy.stat().st_size)
            for name in sorted({*names} - {*missing}):
                with storage_errors(), default_storage.open(name) as stored:
                    writer.add(f"{MEDIA}{name}", stored, stored.size)
    return manifest


def key_id() -> str:
    """Return an identifier of the secrets that seal the history, without revealing them."""
    return hmac.new(keys.sealing(), b"signalbox backup", hashlib.sha256).hexdigest()[
        :16
    ]


def _exists(name: str) -> bool:
    with storage_errors():
        return default_storage.exists(name)


def _applied() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        found.setdefault(app, []).append(name)
    return found


# Restore --------------------------------------------------------------------------------


def restore(path: Path, *, replace: bool, other_key: bool) -> Restored:
    """Replace the database by that of a backup, and store its files.

    `replace`: although there are runs. `other_key`: although SECRET_KEY is another one.
    The caller migrates afterwards. Raises BackupInvalid, RestoreRefused, CopyFailed,
    StorageFailed. Nothing is changed before the whole file has been verified.
    """
    manifest = backup_archive.verify(path)
    _refuse_unfit(manifest, other_key=other_key)
    _refuse_loss(replace=replace)
    files = kept = 0
    with tempfile.TemporaryDirectory(prefix="restore-") as directory:
        for name, content in backup_archive.members(path):
            if name in {MANIFEST, DIGESTS}:
                continue
            if name.startswith(MEDIA):
                is_new = _store(name.removeprefix(MEDIA), File(content))
                files, kept = files + is_new, kept + (not is_new)
                continue
            copy = Path(directory) / "database"
            with copy.open("wb") as file:
                while block := content.read(backup_archive.BLOCK):
                    file.write(block)
            database_copies.load(copy)
            copy.unlink()
    return Restored(manifest, files, kept)


def record(restored: Restored) -> None:
    """Append an audit event; call it once the restored database has been migrated."""
    made = restored.manifest.created_at
    with transaction.atomic():
        audit_events.note(ACTION, by=None, reason=f"the backup of {made}")


def _refuse_unfit(manifest: Manifest, *, other_key: bool) -> None:
    if manifest.database != database_copies.kind():
        raise RestoreRefused(
            f"The backup is of a {manifest.database} database, this installation has"
            f" {database_copies.kind()}: set DATABASE_URL to a database of the same kind."
        )
    known = {(app, name) for app, name in MigrationLoader(None).graph.nodes}
    for app, names in manifest.migrations.items():
        for name in names:
            if (app, name) not in known:
                raise RestoreRefused(
                    f"The backup was made by version {manifest.version}, which has the"
                    f" migration {app}.{name}, and this version {__version__} has not:"
                    " install that version or a later one."
                )
    if manifest.key != key_id() and not other_key:
        raise RestoreRefused(
            "The backup was made with another SECRET_KEY (or AUDIT_KEYS): its stored secrets"
            " could not be read here, and its history would count as changed. Set the key of"
            " that installation (the file `secret-key` in its DATA_DIR, or its settings), or"
            " add --other-key to restore without it."
        )


def _refuse_loss(*, replace: bool) -> None:
    try:
        alive, has_runs = workers.alive().count(), Run.objects.exists()
    except DatabaseError:
        return  # without tables there is nothing to lose
    if alive:
        raise RestoreRefused(
            f"Workers alive: {alive}. Stop all servers and workers first: they would continue"
            " with rows that are no longer there."
        )
    if has_runs and not replace:
        raise RestoreRefused(
            "This database has runs, which the restore would replace: back it up first, then"
            " add --replace."
        )


def _store(name: str, content: File[bytes]) -> bool:
    """Store a file under its name unless it is there; files never change."""
    with storage_errors():
        if default_storage.exists(name):
            return False
        stored = default_storage.save(name, content)
    if stored != name:
        message = f"The storage stored “{name}” under another name, “{stored}”."
        raise StorageFailed(message)
    return True
