"""Documents in S3 or a compatible store: django-storages with timeouts.

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
    """A bucket with short timeouts, since a person waits for the page."""

    bucket_name: str | None
    connect_timeout: float  # seconds
    read_timeout: float  # seconds without a byte
    attempts: int  # including the first

    def __init__(self, **options: Any) -> None:
        """Accept the options of django-storages and the three above."""
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
        # Each request has its own thread, and a client takes 0.1 s to create. Clients are
        # thread-safe: replace the thread-local attribute by a shared one.
        self._connections = SimpleNamespace()

    def get_default_settings(self) -> dict[str, Any]:
        """Return the default options."""
        known: dict[str, Any] = super().get_default_settings()
        ours = {"connect_timeout": 5.0, "read_timeout": 20.0, "attempts": 2}
        # Spool downloads to disk; the default of django-storages is memory.
        return {**known, **ours, "max_memory_size": 1 << 20}

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        try:
            file: File[Any] = super()._open(name, mode)
        except FileNotFoundError:
            # S3 gives the same error for a missing bucket; this call raises for that.
            self.connection.meta.client.head_bucket(Bucket=self.bucket_name)
            raise
        return file
