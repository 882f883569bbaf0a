"""Documents in S3, or in what speaks like it: django-storages, with bounds on waiting.

Named by MEDIA_STORAGE. It needs the packages of requirements-s3.txt.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from botocore.config import Config
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from storages.backends import s3

CONNECTIONS = 50  # kept for the threads of one process


class S3Storage(s3.S3Storage):  # type: ignore[misc] # it publishes no types
    """A bucket that answers soon or fails: somebody waits for a page meanwhile."""

    bucket_name: str | None
    connect_timeout: float  # seconds
    read_timeout: float  # seconds without a byte
    attempts: int  # in all, where another one may help

    def __init__(self, **options: Any) -> None:
        """Take the options of django-storages, and three of our own."""
        super().__init__(**options)
        if not self.bucket_name:
            raise ImproperlyConfigured("it needs the option bucket_name")
        bounds = Config(
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            max_pool_connections=CONNECTIONS,
        )
        self.client_config: Config = self.client_config.merge(bounds)
        self.transfer_config.num_download_attempts = self.attempts
        # Each request has a thread of its own, and a client costs a tenth of a second.
        # Threads may share one: in place of theirs there is one place for all.
        self._connections = SimpleNamespace()

    def get_default_settings(self) -> dict[str, Any]:
        """Return what holds where no option says otherwise."""
        known: dict[str, Any] = super().get_default_settings()
        ours = {"connect_timeout": 5.0, "read_timeout": 20.0, "attempts": 2}
        # Read files go to the disk and not, as for django-storages, into memory.
        return {**known, **ours, "max_memory_size": 1 << 20}

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        try:
            file: File[Any] = super()._open(name, mode)
        except FileNotFoundError:
            # S3 says the same of a bucket that is not there; this raises for that one.
            self.connection.meta.client.head_bucket(Bucket=self.bucket_name)
            raise
        return file
