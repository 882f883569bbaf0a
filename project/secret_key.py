"""Generate SECRET_KEY, which signs sessions and forms, if none is configured."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

KEY_FILE = "secret-key"


def load_or_create_secret_key(directory: Path) -> str:
    """Return the key stored in a directory; generate one, readable by its owner, first.

    Two processes that start together use the same key: it is written to a temporary
    file and hard-linked to its name, which succeeds for the first one only.
    """
    place = directory / KEY_FILE
    if not place.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=directory) as fresh:  # mode 0600
            fresh.write(secrets.token_urlsafe(64))
            fresh.flush()
            os.fsync(fresh.fileno())
            _link_unless_there(fresh.name, place)
    return place.read_text()


def _link_unless_there(source: str, place: Path) -> None:
    try:
        os.link(source, place)
    except FileExistsError:
        return  # another process was first: use its key
