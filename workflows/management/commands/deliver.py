"""`manage.py deliver [--once]`: send messages to webhook destinations.

Each worker does it too. A process of its own keeps outgoing connections to one machine.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from workflows.deliveries.deliverer import Deliverer

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Deliver until SIGTERM, then exit 0."""

    help = "Send the messages of the outbox until SIGTERM; any number can run."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--once", action="store_true", help="send what is due now, then exit"
        )

    def handle(self, *_args: Any, once: bool, **_: Any) -> None:
        """Deliver on an event loop."""
        asyncio.run(self._deliver(once=once))

    async def _deliver(self, *, once: bool) -> None:
        deliverer = Deliverer()
        if once:
            await deliverer.drain()
            return
        loop = asyncio.get_running_loop()
        for sent in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sent, deliverer.stop)
        self.stdout.write("Delivering messages.")
        self.stdout.flush()
        await deliverer.run()
