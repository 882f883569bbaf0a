"""Restore content types and permissions after a flush from copies of their rows.

Each test with `transaction=True` ends with a flush, after which Django compares models with
rows and creates every content type and permission again: most of the cost of such a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.management import create_contenttypes
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands import flush
from django.core.management.sql import emit_post_migrate_signal
from django.db.models.signals import post_migrate

CREATE_PERMISSIONS = "django.contrib.auth.management.create_permissions"


class Restorer:
    """Replaces `emit_post_migrate_signal`; from its second call it inserts copies."""

    def __init__(self) -> None:
        self._types: list[ContentType] = []
        self._permissions: list[Permission] = []

    def __call__(self, verbosity: int, interactive: bool, db: str) -> None:
        """Fill the tables that `flush` emptied; other receivers of the signal run too."""
        if not self._types:
            emit_post_migrate_signal(verbosity, interactive, db)
            self._types = list(ContentType.objects.using(db))
            self._permissions = list(Permission.objects.using(db))
            return
        ContentType.objects.clear_cache()
        ContentType.objects.using(db).bulk_create(self._types)
        Permission.objects.using(db).bulk_create(self._permissions)
        with _without_creation():
            emit_post_migrate_signal(verbosity, interactive, db)


@contextmanager
def _without_creation() -> Iterator[None]:
    """Disconnect the two receivers whose rows exist already."""
    assert post_migrate.disconnect(create_contenttypes)
    assert post_migrate.disconnect(create_permissions, dispatch_uid=CREATE_PERMISSIONS)
    try:
        yield
    finally:
        post_migrate.connect(create_contenttypes)
        post_migrate.connect(create_permissions, dispatch_uid=CREATE_PERMISSIONS)


@contextmanager
def copies_after_flush() -> Iterator[None]:
    """Let `flush` restore copies within the block."""
    with patch.object(flush, "emit_post_migrate_signal", Restorer()):
        yield
