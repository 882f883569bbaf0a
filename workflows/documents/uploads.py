"""Uploads, written to disk as they arrive, hashed on the way, stopped at the limit.

A file that is too large is read to its end and thrown away, since a browser shows no
answer that comes while it is still sending; what is kept of it says so.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class Received(TemporaryUploadedFile):
    """An uploaded file on disk, with its hash."""

    sha256 = ""
    is_too_large = False


class ReceivingHandler(FileUploadHandler):
    """Makes every uploaded file a Received one."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing received."""
        super().new_file(*args, **kwargs)
        self.file = Received(
            self.file_name or "",
            self.content_type or "",
            0,
            self.charset,
            self.content_type_extra,
        )
        self._digest = hashlib.sha256()
        self._received = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: ARG002
        """Keep a part, unless there is too much of it already."""
        self._received += len(raw_data)
        if self._received > settings.MAX_UPLOAD_BYTES:
            if not self.file.is_too_large:
                self.file.is_too_large = True
                self.file.seek(0)
                self.file.truncate()
            return
        self._digest.update(raw_data)
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> Received:
        """Return the file."""
        self.file.seek(0)
        self.file.size = file_size
        self.file.sha256 = self._digest.hexdigest()
        return self.file

    def upload_interrupted(self) -> None:
        """Remove what was kept of a file whose sender has gone."""
        if hasattr(self, "file"):
            self.file.close()
