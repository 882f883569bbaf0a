"""The file of a backup: a gzipped tar with the digest of each member at its end.

Members: `manifest.json`, the database, `media/…`, and `digests.json` last, so that a file that
was cut off is recognised before anything is restored.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST: Final = "manifest.json"
DIGESTS: Final = "digests.json"
MEDIA: Final = "media/"
FORMAT: Final = 1
BLOCK: Final = 1_000_000  # bytes


class BackupInvalid(Exception):
    """The file is no complete backup: it was changed, cut off, or is something else."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup contains, and what it needs."""

    format: int
    version: str  # of Signalbox
    created_at: str  # ISO time
    database: str  # "sqlite" or "postgresql"
    key: str  # identifies the secrets of the installation; see `backup.key_id`
    migrations: dict[str, list[str]]  # applied ones by app
    has_media: bool
    missing: list[str]  # files that rows refer to and that were not in storage


class Writer:
    """Writes members one after another."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._digests: dict[str, str] = {}
        self._time = int(time.time())

    def add(self, name: str, content: IO[bytes], size: int) -> None:
        """Add a member of a known size. Raises OSError if the content is shorter."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = size, self._time, 0o600
        reader = _Digesting(content)
        self._archive.addfile(entry, reader)  # type: ignore[arg-type] # it calls read()
        self._digests[name] = reader.digest.hexdigest()

    def add_json(self, name: str, value: object) -> None:
        """Add a small member."""
        text = json.dumps(value, ensure_ascii=False, indent=1).encode()
        self.add(name, io.BytesIO(text), len(text))

    def end(self) -> None:
        """Add the digests of all members."""
        self.add_json(DIGESTS, self._digests)


class _Digesting:
    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._content.read(size)
        self.digest.update(block)
        return block


@contextmanager
def writing(path: Path, manifest: Manifest) -> Iterator[Writer]:
    """Write a backup; the file exists under its name only when it is complete."""
    draft = path.with_name(f"{path.name}.incomplete")
    try:
        # Readable by its owner only: it contains everything.
        draft.touch(mode=0o600)
        with tarfile.open(draft, "w:gz", compresslevel=6) as archive:
            writer = Writer(archive)
            writer.add_json(MANIFEST, asdict(manifest))
            yield writer
            writer.end()
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


def verify(path: Path) -> Manifest:
    """Read a whole backup and return its manifest. Raises BackupInvalid, OSError."""
    found: dict[str, str] = {}
    manifest = expected = None
    try:
        for name, content in members(path):
            if name == DIGESTS:
                expected = json.load(content)
                continue
            digest, text = _digest(content, keep=name == MANIFEST)
            found[name] = digest
            if name == MANIFEST:
                manifest = _manifest(path, text)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise BackupInvalid(f"“{path}” is no complete backup: {error}.") from error
    if manifest is None or expected is None:
        raise BackupInvalid(f"“{path}” is no complete backup: it has no end.")
    if different := sorted(
        {name for name, _ in {*found.items()} ^ {*expected.items()}}
    ):
        raise BackupInvalid(
            f"“{path}” was changed after it was made: “{different[0]}” differs."
        )
    return manifest


def members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each member in order."""
    with tarfile.open(path, "r|gz") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is None:
                raise BackupInvalid(
                    f"“{path}” contains “{entry.name}”, which is no file."
                )
            yield entry.name, content


def _digest(content: IO[bytes], *, keep: bool) -> tuple[str, bytes]:
    """Return the digest of a member, and its content if it is to be kept."""
    digest, kept = hashlib.sha256(), b""
    while block := content.read(BLOCK):
        digest.update(block)
        if keep:
            kept += block
    return digest.hexdigest(), kept


def _manifest(path: Path, text: bytes) -> Manifest:
    values = json.loads(text)
    if values.get("format") != FORMAT:
        raise BackupInvalid(
            f"“{path}” has format {values.get('format')}, this version reads {FORMAT}:"
            " restore it with the version that made it."
        )
    return Manifest(**values)
