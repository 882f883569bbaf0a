"""`manage.py worker`: a worker process; any number can run, on any machine."""

from __future__ import annotations

import asyncio
import re
import signal
from argparse import ArgumentTypeError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from prometheus_client import start_http_server

from project.garbage_collector import freeze_loaded_objects
from project.memory_allocator import limit_arenas
from project.shutdown import end_within
from project.telemetry import exporting_traces
from workflows.deliveries.deliverer import delivering
from workflows.engine.protected_loop import ResilientLoop
from workflows.execution.worker import Worker

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

MAX_CONCURRENCY = 10_000
MAX_NAME_LENGTH = 200  # characters, as its row has room for
NAME = re.compile(r"[\w.@:-]+")


class Command(BaseCommand):
    """Execute runs from the queue until SIGTERM, then drain and exit 0."""

    help = "Run workflows: claims pending runs until SIGTERM, then drains and exits."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--concurrency",
            type=concurrency,
            default=settings.WORKER_CONCURRENCY,
            help="runs at once (default: WORKER_CONCURRENCY)",
        )
        parser.add_argument(
            "--name",
            type=name,
            help="unique among live workers (default: host and process id)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the worker on its own event loop."""
        limit_arenas()
        freeze_loaded_objects()
        with _serve_metrics(), exporting_traces(), delivering():
            worker = Worker(options["name"], options["concurrency"])
            # SystemExit raised by workflow code must not end the process
            with asyncio.Runner(loop_factory=ResilientLoop) as runner:
                runner.run(self._work(worker))

    async def _work(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        drains: set[asyncio.Task[None]] = set()
        for sent in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(
                sent, lambda: drains.add(loop.create_task(worker.drain()))
            )
        self.stdout.write(
            f"Worker {worker.name} executes up to {worker.capacity} runs."
        )
        await worker.run()
        self.stdout.write(f"Worker {worker.name} has stopped.")
        end_within()


def concurrency(text: str) -> int:
    """Return a number of runs. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_CONCURRENCY:
        raise ArgumentTypeError(
            f"{text!r} is not a valid concurrency: enter a number from 1 to {MAX_CONCURRENCY:,}"
        )
    return int(text)


def name(text: str) -> str:
    """Return a worker's name. Raises ArgumentTypeError."""
    if len(text) > MAX_NAME_LENGTH or not NAME.fullmatch(text):
        raise ArgumentTypeError(
            f"{text!r} is not a valid name: up to {MAX_NAME_LENGTH} letters, digits and . _ @ : -"
        )
    return text


@contextmanager
def _serve_metrics() -> Iterator[None]:
    """Serve the metrics of this process at METRICS_PORT, if set."""
    if settings.METRICS_PORT is None:
        yield
        return
    address = f"{settings.HOST}:{settings.METRICS_PORT}"
    try:
        server, thread = start_http_server(settings.METRICS_PORT, settings.HOST)
    except OSError as error:
        raise CommandError(
            f"Cannot serve metrics at {address} ({error.strerror}): set METRICS_PORT to"
            " a free port; each worker on a machine needs its own."
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
