"""Migrated databases that later test runs reuse: migrating from zero takes ten seconds of CPU.

They lie in `.pytest_cache`, in a directory named by a digest of what `migrate` executes. The
receivers of `post_migrate` are no part of the digest: each test run executes them again.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

from project.env import ROOT

CACHE = ROOT / ".pytest_cache" / "migrated"
SOURCES = ("workflows/migrations", "project/sqlite")
FILES = ("requirements.txt", "requirements-dev.txt")


def cached(name: str) -> Path | None:
    """Return a file of the migrations as they are now, or None."""
    path = _directory() / name
    return path if path.exists() else None


def store(file: Path, name: str) -> None:
    """Copy a file into the cache; copies made with other migrations are removed."""
    directory = _directory()
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / f"{name}-{uuid.uuid4().hex}"
    shutil.copy(file, draft)
    draft.rename(directory / name)
    for other in CACHE.iterdir():
        if other != directory:
            shutil.rmtree(other, ignore_errors=True)


def _directory() -> Path:
    digest = hashlib.sha256()
    paths = [ROOT / name for name in FILES]
    paths += [path for name in SOURCES for path in (ROOT / name).rglob("*.py")]
    for path in sorted(paths):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return CACHE / digest.hexdigest()[:16]
