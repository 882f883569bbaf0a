"""Upload handler that writes files to disk, hashes them and enforces the size limit.

A file over the limit is read to its end and discarded, because a browser shows no
response before it has sent everything; `is_too_large` is set.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class Received(TemporaryUploadedFile):
    """An uploaded file on disk with its SHA-256."""

    sha256 = ""
    is_too_large = False


class HashingUploadHandler(FileUploadHandler):
    """Turns every uploaded file into a Received."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Open the file."""
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
        """Write a chunk unless the limit is exceeded."""
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
        """Return the finished file."""
        self.file.seek(0)
        self.file.size = file_size
        self.file.sha256 = self._digest.hexdigest()
        return self.file

    def upload_interrupted(self) -> None:
        """Remove a partially received file."""
        if hasattr(self, "file"):
            self.file.close()
