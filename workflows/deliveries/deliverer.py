"""Sends the messages that are due, to several destinations at once.

It runs in a thread of each worker process, or in a process of its own (`manage.py
deliver`). Any number of them can run: each destination is served by one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from contextlib import contextmanager, suppress
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.utils import timezone

from workflows.deliveries import delivery_queue, expansion
from workflows.deliveries.chat import ChatSender
from workflows.deliveries.mail import MailSender
from workflows.deliveries.webhook_requests import Sender
from workflows.infra import outages
from workflows.infra.database_threads import run_in_db
from workflows.models import Destination, DestinationKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

logger = logging.getLogger(__name__)

MAX_DESTINATIONS_AT_ONCE: Final = 16  # of one process
MAX_MESSAGES: Final = 100  # of a destination, before others get their turn
MAX_EXPANSIONS: Final = 20  # batches of events before messages are sent
FIRST_PAUSE_SECONDS: Final = 0.2  # after a failure, then doubled
LAST_PAUSE_SECONDS: Final = 5.0
STOP_SECONDS: Final = 5.0  # for the attempts in progress, at the end


class Deliverer:
    """Expands events and delivers messages on its event loop."""

    def __init__(self) -> None:
        # a process id is reused after a restart; a token must not be
        self.token = f"{socket.gethostname()[:40]}-{os.getpid()}-{token_hex(4)}"
        self._stopped = asyncio.Event()
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    def stop(self) -> None:
        """Start nothing more; call it on the event loop."""
        self._stopped.set()

    async def run(self) -> None:
        """Deliver until stopped; attempts in progress may finish within STOP_SECONDS."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            try:
                has_more = await self.start_due()
                pause = FIRST_PAUSE_SECONDS
                await self._wait(0.01 if has_more else settings.POLL_INTERVAL_SECONDS)
            except Exception as error:
                _log(error)
                await self._wait(pause)
                pause = min(pause * 2, LAST_PAUSE_SECONDS)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=STOP_SECONDS)

    async def drain(self) -> None:
        """Deliver all that is due now, then return; for commands and tests."""
        while await self.start_due() or self._tasks:
            if self._tasks:
                await asyncio.wait(self._tasks.values())

    async def start_due(self) -> bool:
        """Expand new events and serve destinations; return True if more is due now."""
        has_more = False
        for _ in range(MAX_EXPANSIONS):
            has_more = await run_in_db(expansion.expand)
            if not has_more:
                break
        free = MAX_DESTINATIONS_AT_ONCE - len(self._tasks)
        claimed = (
            await run_in_db(delivery_queue.claim, self.token, free) if free else []
        )
        for destination_id in claimed:
            task = asyncio.create_task(self._serve(destination_id))
            self._tasks[destination_id] = task
            task.add_done_callback(partial(self._end, destination_id))
        return has_more

    def _end(self, destination_id: UUID, _: asyncio.Task[None]) -> None:
        del self._tasks[destination_id]

    async def _wait(self, seconds: float) -> None:
        """Wait until the time has passed, a destination was served, or the end."""
        waiting = [
            asyncio.create_task(self._stopped.wait()),
            *self._tasks.values(),
        ]
        await asyncio.wait(
            waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        waiting[0].cancel()

    async def _serve(self, destination_id: UUID) -> None:
        """Deliver messages of a destination whose lease this process has."""
        sender: Sender | ChatSender | MailSender | None = None
        try:
            for _ in range(MAX_MESSAGES):
                message = await run_in_db(
                    delivery_queue.next_message, destination_id, self.token
                )
                if message is None or self._stopped.is_set():
                    break
                sender = sender or _sender_to(message.destination)
                started_at = timezone.now()
                result = await sender.send(message.destination, message.delivery)
                if not await run_in_db(
                    delivery_queue.record, message, result, started_at
                ):
                    break
            await run_in_db(delivery_queue.release, destination_id, self.token)
        except Exception as error:  # the lease expires; the message is sent again
            _log(error)
        finally:
            if sender is not None:
                await sender.close()


def _sender_to(destination: Destination) -> Sender | ChatSender | MailSender:
    if destination.kind == DestinationKind.MAIL:
        return MailSender()
    is_chat = destination.kind in {DestinationKind.CHAT, DestinationKind.PERSONAL}
    return ChatSender() if is_chat else Sender(destination)


def _log(error: Exception) -> None:
    """Log an outage once, when it begins, and any other error each time."""
    if outages.is_conflict(error):
        logger.info("A delivery conflicted with another transaction; retrying.")
    elif outage := outages.of(error):
        outage.report_failure(error)
    else:
        logger.error("Messages could not be delivered; retrying.", exc_info=error)


class DelivererThread:
    """A deliverer on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._deliverer = Deliverer()
        self._thread = threading.Thread(
            target=self._serve, name="deliverer", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; wait for the attempts in progress, but not longer than STOP_SECONDS."""
        with suppress(RuntimeError):  # its loop has ended already
            self._loop.call_soon_threadsafe(self._deliverer.stop)
        self._thread.join(STOP_SECONDS + 1)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._deliverer.run())


@contextmanager
def delivering() -> Iterator[None]:
    """Deliver in a thread during the block."""
    thread = DelivererThread()
    thread.start()
    try:
        yield
    finally:
        thread.stop()
