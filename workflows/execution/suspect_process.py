"""The execution of one suspect, in the child process that a worker started for it.

The counterpart of `child_process.py`. The process has the name of the worker and the
attempt that it claimed, which fence all writes, and renews the lease itself: only the
process that writes the records knows the fence of the last one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.execution import queue, recovery
from workflows.execution.executor import Executor
from workflows.execution.heartbeat import Heartbeat
from workflows.execution.run_tasks import HeldRuns
from workflows.execution.worker_loops import NodeLoops
from workflows.execution.writer import Writer
from workflows.infra import outages
from workflows.infra.database_threads import close_connections, run_in_db_retrying

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.engine import Cancellation
    from workflows.models import Run

logger = logging.getLogger(__name__)

LINGERS_AFTER = 2  # lost processes: the run then stays here until it ends or waits


class SuspectRun:
    """Executes a claimed run in this process."""

    def __init__(self, run: Run, messages: int) -> None:
        """`messages` is the descriptor of the pipe to the worker."""
        self._run = run
        self._messages = messages
        self._held = HeldRuns(run.worker, self._execute, on_ended=lambda _run: None)
        self._is_draining = False
        self._lingers = False

    async def execute(self) -> None:
        """Execute the run until its attempt ends; return at once if it has ended."""
        run = await run_in_db_retrying(recovery.refreshed, self._run)
        if run is None:
            return
        lost = await run_in_db_retrying(recovery.times_lost, run)
        self._lingers = lost >= LINGERS_AFTER
        loop = asyncio.get_running_loop()
        for sent in (signal.SIGTERM, signal.SIGINT):  # to all processes of a service
            loop.add_signal_handler(sent, self._drain)
        writer = Writer(self._report)
        writer.start()
        self._executor = Executor(writer, draining=self._has_to_stop)
        nodes = NodeLoops(
            run.worker, self._held, self._executor, writer, lambda _: None
        )
        heartbeat = Heartbeat(partial(self._renew, loop), _log_failure)
        self._write("ready")  # before the run can end the process
        self._held.start(run, nodes.current)
        heartbeat.start()
        try:
            await self._held.wait_until_idle()
        finally:
            await nodes.stop()
            await asyncio.to_thread(heartbeat.stop)
            await asyncio.to_thread(writer.stop)
            await asyncio.to_thread(close_connections)

    async def _execute(self, run: Run, cancellation: Cancellation) -> None:
        await self._executor.run(run, cancellation)

    def _renew(self, loop: asyncio.AbstractEventLoop) -> None:
        """Renew the lease, on the heartbeat's thread; exit if a node ignores its loss."""
        held = self._held.snapshot()
        if any(item.is_dropped for item in held.values()):
            os._exit(os.EX_TEMPFAIL)
        fences = {run_id: item.run.fence for run_id, item in held.items()}
        renewed = queue.renew(self._run.worker, fences) if fences else {}
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._held.apply_renewal, held, renewed)

    def listen(self) -> None:
        """Handle the messages of the worker, in a thread; exit when the worker has ended."""
        messages = os.dup(0)
        # neither end for author code and what it starts
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.set_inheritable(self._messages, False)
        threading.Thread(
            target=self._listen, args=(messages,), name="messages", daemon=True
        ).start()

    def _listen(self, messages: int) -> None:
        with os.fdopen(messages, "rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "drain" in message:
                    self._drain()
                if "cancel" in message:
                    self._held.cancel(self._run.pk, message["cancel"])
        os._exit(os.EX_UNAVAILABLE)

    def _drain(self) -> None:
        self._is_draining = True

    def _has_to_stop(self) -> bool:
        """Return whether to release the run before the next node."""
        is_cleared = not self._lingers and self._executor.has_progressed(self._run)
        return self._is_draining or is_cleared

    def _report(self, versions: dict[UUID, int]) -> None:
        """Let the worker announce new versions: this process may not reach the pages."""
        for version in versions.values():
            self._write(version)

    def _write(self, message: str | int) -> None:
        with suppress(OSError):  # the worker has ended, which `_listen` handles
            os.write(self._messages, json.dumps(message).encode() + b"\n")


def _log_failure(error: Exception) -> None:
    """Log an outage once, when it begins, and any other error each time."""
    if outage := outages.of(error):
        outage.report_failure(error)
    else:
        logger.error("The heartbeat failed; retrying.", exc_info=error)
