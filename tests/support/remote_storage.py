"""A storage without local paths, as for S3."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.utils import timezone


class RemoteStorage(Storage):
    """Stores files in memory."""

    kept: ClassVar[dict[str, tuple[bytes, dt.datetime]]] = {}
    before_opening: ClassVar[list[Callable[[str], None]]] = []  # called with the name

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return name in self.kept

    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""
        self.kept.pop(name, None)

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return len(self.kept[name][0])

    def get_modified_time(self, name: str) -> dt.datetime:
        """Return the time at which a file was stored."""
        return self.kept[name][1]

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the folders and the files in a folder."""
        inside = [n.removeprefix(f"{path}/") for n in self.kept if n.startswith(path)]
        folders = {name.split("/")[0] for name in inside if "/" in name}
        return sorted(folders), [name for name in inside if "/" not in name]

    def _open(self, name: str, mode: str = "rb") -> File[Any]:  # noqa: ARG002
        for call in self.before_opening:
            call(name)
        if name not in self.kept:
            raise FileNotFoundError(name)
        return ContentFile(self.kept[name][0])

    def _save(self, name: str, content: File[Any]) -> str:
        content.seek(0)
        self.kept[name] = (content.read(), timezone.now())
        return name
