"""`manage.py worker`: a worker process; start as many as you like, on any machine."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from workflows.execution.worker import Worker

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Take runs from the queue until told to stop; SIGTERM drains and exits 0."""

    help = "Run workflows: claims pending runs until SIGTERM, then drains and exits."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the capacity and the name."""
        parser.add_argument("--capacity", type=int, help="runs at once")
        parser.add_argument("--name", help="default: host name and process id")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Work on an event loop of its own."""
        asyncio.run(self._work(Worker(options["name"], options["capacity"])))

    async def _work(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        drains: set[asyncio.Task[None]] = set()
        for sent in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(
                sent, lambda: drains.add(loop.create_task(worker.drain()))
            )
        self.stdout.write(f"Worker {worker.name} takes up to {worker.capacity} runs.")
        await worker.run()
        self.stdout.write(f"Worker {worker.name} has stopped.")
