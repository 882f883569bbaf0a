"""`manage.py serve`: serve the pages and, without Redis, run the work as well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandParser, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from project.garbage import freeze_loaded_objects
from project.server import Server, Works
from project.shutdown import end_within


class Command(BaseCommand):
    """Serves until it is told to stop; exits 0 then, 1 when it could not serve."""

    help = "Serve the pages; without REDIS_URL the work is done in this process too."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where to listen, and whether to work."""
        parser.add_argument(
            "--prepare", action="store_true", help="do `manage.py prepare` first"
        )
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", default=settings.PORT, type=int)
        parser.add_argument(
            "--no-worker",
            action="store_true",
            help="only serve; `manage.py worker` processes do the work",
        )

    def handle(
        self, *, prepare: bool, host: str, port: int, no_worker: bool, **_: Any
    ) -> None:
        """Make or check what serving needs, then serve."""
        if prepare:
            call_command("prepare", stdout=self.stdout)
        self._refuse_unprepared()
        from project.asgi import application  # noqa: PLC0415 - needs set-up apps
        from workflows.pages.views.failures import too_large  # noqa: PLC0415 - likewise

        server = Server(
            application,
            host=host,
            port=port,
            max_upload_bytes=settings.MAX_UPLOAD_BYTES,
            max_socket_bytes=settings.MAX_SOCKET_BYTES,
            behind_proxy=settings.BEHIND_PROXY,
            worker=_worker() if settings.EMBEDS_WORKER and not no_worker else None,
            tell=self._say,
            too_large=too_large,
        )
        freeze_loaded_objects()
        server.run()
        end_within(code=1 if server.failure else 0)
        if server.failure:
            self._refuse(server.failure)

    def _refuse_unprepared(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self._refuse("The database is not up to date: run `manage.py prepare`.")
        connection.close()
        manifest = Path(settings.STATIC_ROOT or ".") / "staticfiles.json"
        if settings.PRODUCTION and not manifest.exists():
            self._refuse("Static files are not collected: run `manage.py prepare`.")

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def _refuse(self, sentence: str) -> None:
        self.stderr.write(sentence)
        sys.exit(1)


def _worker() -> Callable[[], Works]:
    from workflows.execution.worker import Worker  # noqa: PLC0415 - only where one works

    return Worker
