"""The node loops of a worker: the one that executes runs, and those that were abandoned.

A node that blocks the loop is named: in the log of its run after a quarter of a second, on
its page, in the worker's log and in the logs of the runs that have to wait after three. After
BLOCKED_LOOP_SECONDS its run fails, the other runs of the loop are released to the queue,
and a new loop executes what is claimed next.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from workflows.engine import kept_processes, threads
from workflows.execution import blocked_run_ends
from workflows.execution.loop_monitor import Blocked, LoopWatch
from workflows.execution.node_loop import NodeLoop
from workflows.infra import process_metrics
from workflows.infra.database_threads import run_in_db_retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workflows.execution.executor import Executor
    from workflows.execution.run_tasks import HeldRun, HeldRuns
    from workflows.execution.writer import Writer

logger = logging.getLogger(__name__)

Hold = dict[str, Any]
"""What holds a worker up, for its row: kind, run, node, since. See `Worker.holds`."""


class NodeLoops:
    """Executes the runs of a worker on one node loop at a time; replaces a blocked one."""

    def __init__(
        self,
        worker: str,
        held: HeldRuns,
        executor: Executor,
        writer: Writer,
        on_changed: Callable[[Iterable[UUID]], None],
    ) -> None:
        """Call it on the worker's loop. `on_changed` may be called in any thread.

        It gets the runs whose pages have to show that something holds them up, or that
        nothing does any more.
        """
        self._worker = worker
        self._held = held
        self._executor = executor
        self._writer = writer
        self._on_changed = on_changed
        self._loop = asyncio.get_running_loop()
        self._blocked: dict[NodeLoop, Blocked] = {}  # reported, or abandoned
        self._known: set[tuple[str, str, str]] = set()  # holds at the last refresh
        self._replacing: set[asyncio.Task[None]] = set()
        self._start()

    def _start(self) -> None:
        self.current = NodeLoop()
        self._watch = LoopWatch(self.current, self)
        self.current.start()
        self._watch.start()

    async def stop(self) -> None:
        """End the current loop; one that is blocked is left to the end of the process."""
        self._watch.stop()
        await asyncio.gather(*self._replacing, return_exceptions=True)
        if not await self.current.stop():
            self.current.abandon()
            logger.error(
                "Worker %s: its node loop is still blocked; the worker ends without it.",
                self._worker,
            )

    def holds(self) -> list[Hold]:
        """Return what holds the worker up; safe to call from any thread."""
        holds = []
        for nodes, blocked in [*self._blocked.items()]:
            if nodes.is_abandoned and not nodes.is_alive:
                self._blocked.pop(nodes, None)
                continue
            kind = "abandoned" if nodes.is_abandoned else "loop"
            holds.append(_hold(kind, blocked.run_id, blocked.node, blocked.since))
        return holds + [
            _hold("thread", call.run_id, call.node, call.since)
            for call in threads.pool.overdue_calls()
        ]

    def refresh(self) -> tuple[list[Hold], set[UUID]]:
        """Return the holds, and the runs whose holds have changed since the last call.

        A thread that ignores its timeout or cancellation is logged when it is found. Call
        it in one thread.
        """
        holds = self.holds()
        found = {(hold["kind"], hold["run"], hold["node"]) for hold in holds}
        for kind, run_id, node in found - self._known:
            if kind == "thread":
                logger.warning(
                    "Worker %s: node %s of run %s ignores its timeout or cancellation. Its"
                    " thread takes a slot of the worker until it returns.",
                    self._worker,
                    node,
                    run_id,
                )
        changed = {run_id for _, run_id, _ in found ^ self._known if run_id}
        self._known = found
        return holds, {UUID(run_id) for run_id in changed}

    def occupied_slots(self) -> int:
        """Return the slots that code without a run takes: of runs that have left it behind.

        Each run whose code still runs here takes one slot, like a run that is held.
        """
        holds = self.holds()
        if not holds:
            return 0
        held = {str(run_id) for run_id in self._held.snapshot()}
        return len({hold["run"] for hold in holds} - held)

    # -- blockages, in the thread of the watch ------------------------------------------

    def name(self, blocked: Blocked) -> None:
        """Add to the log of the node's run for how long it held the loop."""
        process_metrics.BLOCKED_LOOPS.labels(blocked.node).inc()
        self._executor.log_holder(blocked)

    def report(self, nodes: NodeLoop, blocked: Blocked) -> None:
        """Log what blocks the loop, also in the log of each run that has to wait."""
        if not blocked.node:
            process_metrics.BLOCKED_LOOPS.labels("").inc()
        self._blocked[nodes] = blocked
        logger.error(
            "Worker %s: its event loop is blocked by %s, which holds up all runs of this"
            " worker: a node that computes or waits without `await` has to be a plain"
            " `def`. After %g s the worker ends it.",
            self._worker,
            _blocking_code(blocked),
            settings.BLOCKED_LOOP_SECONDS,
        )
        self._executor.log_waits(blocked)
        self._on_changed(self._runs_of(nodes))

    def end(self, nodes: NodeLoop, blocked: Blocked) -> None:
        """Log that a loop that was reported responds again."""
        process_metrics.BLOCKED_LOOP_SECONDS.inc(blocked.seconds)
        if self._blocked.pop(nodes, None) is not None:
            logger.warning(
                "Worker %s: its event loop responds again, after %.0f s.",
                self._worker,
                blocked.seconds,
            )
            self._on_changed(self._runs_of(nodes))

    def give_up(self, nodes: NodeLoop, blocked: Blocked) -> None:
        """Abandon the loop, and let the worker replace it."""
        process_metrics.BLOCKED_LOOP_SECONDS.inc(blocked.seconds)
        process_metrics.ABANDONED_LOOPS.inc()
        self._blocked[nodes] = blocked
        self._writer.refuse(nodes.loop)
        nodes.abandon()
        for pool in (threads.pool, kept_processes.threads):
            pool.abandon_calls_of(nodes.loop)
        with suppress(RuntimeError):  # the worker has ended
            self._loop.call_soon_threadsafe(self._replace, nodes, blocked)

    def _runs_of(self, nodes: NodeLoop) -> list[UUID]:
        held = self._held.snapshot()
        return [run_id for run_id, item in held.items() if item.nodes is nodes]

    # -- replacement, on the worker's loop ------------------------------------------------

    def _replace(self, nodes: NodeLoop, blocked: Blocked) -> None:
        if nodes is not self.current:
            return
        self._start()
        items = self._held.of(nodes)
        task = asyncio.create_task(self._release_runs(items, blocked))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _release_runs(self, items: list[HeldRun], blocked: Blocked) -> None:
        """End the attempts of an abandoned loop, then forget its runs.

        The leases are renewed until then, so that nobody else recovers them.
        """
        seconds = f"{blocked.seconds:.0f} s"
        logger.error(
            "Worker %s: %s blocked its event loop for %s. The worker continues on a new"
            " loop; %d other runs go back to the queue. The code cannot be interrupted"
            " and takes a slot until it returns, or the worker is restarted.",
            self._worker,
            _blocking_code(blocked),
            seconds,
            len([item for item in items if str(item.run.pk) != blocked.run_id]),
        )
        reason = (
            f"Worker {self._worker} replaced its event loop, which code of another run had"
            f" blocked for {seconds}."
        )
        others = []
        for item in items:
            if str(item.run.pk) == blocked.run_id:
                failure = blocked_run_ends.Failure(_sentence(blocked), blocked.node)
                await self._end(item, partial(blocked_run_ends.fail, item.run, failure))
            else:
                others.append(item)
        for item in others:
            await self._end(
                item,
                partial(
                    blocked_run_ends.release,
                    [item.run],
                    reason,
                    charged=not blocked.run_id,  # any of them may have blocked the loop
                ),
            )

    async def _end(self, item: HeldRun, end: Callable[[], None]) -> None:
        try:
            await run_in_db_retrying(end)
        except Exception:
            logger.exception(
                "Run %s could not be released; its lease will expire.", item.run.pk
            )
        self._held.remove(item)


def _blocking_code(blocked: Blocked) -> str:
    if blocked.node:
        return f"node {blocked.node} of run {blocked.run_id}"
    return f"run {blocked.run_id}" if blocked.run_id else "code outside of nodes"


def _sentence(blocked: Blocked) -> str:
    what = f"“{blocked.node}”" if blocked.node else "Code of this run between its nodes"
    return (
        f"{what} held the event loop of its worker for {blocked.seconds:.0f} s without an"
        " `await`, which blocked all runs of the worker, and was abandoned: its further"
        " effects are not recorded. Make it a plain `def`, which runs in a separate thread,"
        " or await its blocking calls."
    )


def _hold(kind: str, run_id: str, node: str, since: float) -> Hold:
    began = timezone.now() - dt.timedelta(seconds=time.monotonic() - since)
    return {"kind": kind, "run": run_id, "node": node, "since": began.isoformat()}
