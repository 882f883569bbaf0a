"""`manage.py serve`: serve pages, with an embedded worker if Redis is not configured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandParser, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from project.connection_limits import ConnectionLimits
from project.garbage_collector import freeze_loaded_objects
from project.memory_allocator import limit_arenas
from project.server import Server, Works
from project.shutdown import end_within
from project.telemetry import exporting_traces

SWITCH_SECONDS = 0.001  # in which a thread lets others run; Python's own is 0.005


class Command(BaseCommand):
    """Serve until SIGTERM, then exit 0; exit 1 if the server cannot start."""

    help = "Serve pages; without REDIS_URL this process also runs a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--prepare", action="store_true", help="run `manage.py prepare` first"
        )
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", default=settings.PORT, type=int)
        parser.add_argument(
            "--no-worker",
            action="store_true",
            help="do not embed a worker; use `manage.py worker` processes",
        )

    def handle(
        self, *, prepare: bool, host: str, port: int, no_worker: bool, **_: Any
    ) -> None:
        """Prepare or check the installation, then serve."""
        limit_arenas()
        if prepare:
            call_command("prepare", stdout=self.stdout)
        self._require_prepared()
        from project.asgi import application  # noqa: PLC0415 - needs set-up apps
        from workflows.api.live.limits import streams  # noqa: PLC0415 - likewise
        from workflows.deliveries.deliverer import delivering  # noqa: PLC0415 - likewise

        embeds_worker = settings.EMBEDS_WORKER and not no_worker
        limits = ConnectionLimits(
            connections=settings.MAX_CONNECTIONS,
            per_address=settings.MAX_CONNECTIONS_PER_ADDRESS,
            head_seconds=settings.REQUEST_SECONDS,
            messages_per_second=settings.MAX_MESSAGES_PER_SECOND,
        )
        server = Server(
            application,
            host=host,
            port=port,
            limits=limits,
            max_socket_bytes=settings.MAX_SOCKET_BYTES,
            worker=_worker() if embeds_worker else None,
            write=self._write,
            end_streams=streams.drain,
        )
        freeze_loaded_objects()
        # Threads that render pages keep the event loop waiting for as long, each time.
        sys.setswitchinterval(SWITCH_SECONDS)
        with exporting_traces(), delivering() if embeds_worker else nullcontext():
            server.run()
        end_within(code=1 if server.failure else 0)
        if server.failure:
            self._fail(server.failure)

    def _require_prepared(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self._fail("The database is not up to date: run `manage.py prepare`.")
        connection.close()
        manifest = Path(settings.STATIC_ROOT or ".") / "staticfiles.json"
        if settings.PRODUCTION and not manifest.exists():
            self._fail("Static files are not collected: run `manage.py prepare`.")

    def _write(self, message: str) -> None:
        self.stdout.write(message)
        self.stdout.flush()

    def _fail(self, message: str) -> None:
        self.stderr.write(message)
        sys.exit(1)


def _worker() -> Callable[[], Works]:
    # only where one works
    from workflows.execution.worker_thread import WorkerThread  # noqa: PLC0415

    return WorkerThread
