"""`manage.py prepare`: prepare an installation; idempotent."""

from __future__ import annotations

import fcntl
import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from workflows.documents.service import store_document
from workflows.infra.database import is_postgresql
from workflows.ops import encrypted_values
from workflows.runtime.errors import StorageFailed

ADMIN = "admin"
LOCK_FILE = "prepare.lock"
LOCK_NUMBER = 7_446_257_225  # of the advisory lock on PostgreSQL
BOX = """
    ┌{line}┐
    │{empty}│
    │{first}│
    │{second}│
    │{empty}│
    └{line}┘
"""


class Command(BaseCommand):
    """Changes only what is missing, so that it can run before every start."""

    requires_system_checks = ()  # `serve` runs them; they are slow
    help = "Migrate the database; on the first start, create an admin and sample documents."

    def handle(self, **_: Any) -> None:
        """Prepare the database, static files and, on the first start, initial data."""
        settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _exclusive():
            self._migrate()
            password = self._first_start()
            if settings.SECRET_KEY_FALLBACKS:
                encrypted_values.renew_all()
        if password:
            self._show(password)
        if settings.PRODUCTION:
            call_command("collectstatic", interactive=False, verbosity=0)

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
            self.stdout.write("Database migrated.")

    @transaction.atomic
    def _first_start(self) -> str:
        """Create the initial data; return the generated password, if any."""
        if User.objects.exists():
            return ""
        from workflows.samples import samples  # noqa: PLC0415 - loads PDFium

        given = settings.ADMIN_PASSWORD
        password = given or secrets.token_urlsafe(12)
        admin = User.objects.create_superuser(ADMIN, password=password)
        try:
            for sample in samples():
                store_document(sample.name, io.BytesIO(sample.data), by=admin)
        except StorageFailed as failed:
            # rolled back; the next start tries again
            raise CommandError(f"{failed} ({failed.__cause__})") from failed
        return "" if given else password

    def _show(self, password: str) -> None:
        first = f"  Sign in as {ADMIN} with the password {password}  "
        second = "  It is shown this once: change it, or keep it safe."
        width = max(len(first), len(second))
        self.stdout.write(
            BOX.format(
                line="─" * width,
                empty=" " * width,
                first=first.ljust(width),
                second=second.ljust(width),
            )
        )


@contextmanager
def _exclusive() -> Iterator[None]:
    """Hold a lock, since concurrent processes would both migrate."""
    if is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK_NUMBER])
            yield
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK_NUMBER])
    else:
        with (settings.DATA_DIR / LOCK_FILE).open("w") as place:
            fcntl.flock(place, fcntl.LOCK_EX)
            yield
