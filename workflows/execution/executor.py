"""Takes a claimed run to its end, a pause or back to the queue.

    cold start    `prepare` reads and builds everything the run needs; no node has run
    hot start     the engine executes the graph, the recorder commits each step
    post-commit   the end is recorded; a parent run that waits for it is woken

The run's row always shows the outcome: completed, failed with a message,
cancelled, waiting, or pending again. The last write never depends on the run's own task.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings

from workflows.cluster.dask_cluster import DaskCluster
from workflows.engine import isolation, item_places, threads
from workflows.engine.errors import (
    ExecutionError,
    Paused,
    Superseded,
    WorkflowError,
    describe,
    format_traceback,
)
from workflows.execution import (
    checkpoints,
    child_groups,
    event_delivery,
    node_connections,
    rewinds,
    undo_and_end,
    undo_and_end_records,
)
from workflows.execution.recorder import Recorder
from workflows.execution.run_preparation import prepare
from workflows.execution.run_spans import RunSpans
from workflows.execution.undo_and_end import DecidedEnd
from workflows.execution.writer import LeaseLost
from workflows.infra import log_context
from workflows.infra.addresses import Guard
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Level, Status
from workflows.registry import Registry, registry
from workflows.runtime.mcp_tools import use_guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.engine import Cancellation, State
    from workflows.execution.loop_monitor import Blocked
    from workflows.execution.run_preparation import PreparedRun
    from workflows.execution.writer import Writer
    from workflows.models import Run

logger = logging.getLogger(__name__)

SEPARATE_PROCESS = (
    "Executed in a separate process because the last worker of this run stopped"
    " unexpectedly."
)


@cache
def _cluster(address: str) -> DaskCluster:
    """Return the cluster of this process."""
    return DaskCluster(address)


class Executor:
    """Executes the claimed runs of one worker, each in its own task."""

    def __init__(
        self,
        writer: Writer,
        *,
        draining: Callable[[], bool],
        on_wait: Callable[[], None] = lambda: None,
        workflows: Registry = registry,
    ) -> None:
        """`on_wait` is called when a run has begun to wait for a point in time."""
        self._writer = writer
        self._on_wait = on_wait
        self._draining = draining
        self._registry = workflows
        self._recorders: dict[UUID, Recorder] = {}  # of the runs being executed
        isolation.set_up_children("django:setup")
        guard = Guard(settings.ALLOW_PRIVATE_PROVIDERS, "ALLOW_PRIVATE_PROVIDERS")
        use_guard(guard)
        if settings.DASK_SCHEDULER:
            item_places.use_cluster(_cluster(settings.DASK_SCHEDULER))
        threads.pool.add_hooks(
            prepare=node_connections.prepare, clean_up=node_connections.clean_up
        )

    async def run(self, run: Run, cancellation: Cancellation) -> bool:
        """Execute one claimed run as far as possible. Raises only CancelledError.

        True if the run has ended, and has left no run pending: not itself, nor a child run
        or a parent.
        """
        log_context.RUN.set(str(run.pk))
        thread = node_connections.RunThread()
        recorder = Recorder(
            run,
            self._writer,
            draining=self._draining,
            after_node=thread.after_node,
            workflows=self._registry,
        )
        self._recorders[run.pk] = recorder
        recorder.spans = RunSpans.of(run)
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._execute(run, recorder, cancellation)
        except Superseded as signal:
            # shielded here and below: the heartbeat cancels a lost run again and again
            await asyncio.shield(self._leave(run, recorder, signal))
        except asyncio.CancelledError:
            requested = self._draining()
            await asyncio.shield(self._release(run, recorder, requested=requested))
            raise
        except Exception as error:
            logger.exception("Run %s could not store its records.", run.pk)
            await self._fail_without_record(run, recorder, error)
        finally:
            if recorder.spans is not None:
                recorder.spans.finish()
            thread.end()
            if self._recorders.get(run.pk) is recorder:
                del self._recorders[run.pk]
        return await self._follow_up(run, recorder)

    async def _follow_up(self, run: Run, recorder: Recorder) -> bool:
        """Continue what depends on this attempt, after its commit.

        True if the run has ended, and has left no run pending.
        """
        if recorder.has_children_to_launch:
            await run_in_db_retrying(child_groups.advance, run.pk, self._registry)
        if recorder.awaits_event:
            await run_in_db_retrying(event_delivery.deliver_to, run.pk)
            return False
        if run.parent_id is not None:
            await run_in_db_retrying(child_groups.child_ended, run.pk, self._registry)
            return False
        return recorder.has_ended and not recorder.has_launched

    def has_progressed(self, run: Run) -> bool:
        """Return whether a step was completed since the run was claimed."""
        recorder = self._recorders.get(run.pk)
        return recorder is not None and recorder.has_progressed

    def log_holder(self, blocked: Blocked) -> None:
        """Add to the log of a run that its node holds the event loop; thread-safe.

        A node that holds the loop again is logged only if it takes twice as long.
        """
        recorder = self._recorder_of(blocked.run_id)
        if recorder is not None:
            recorder.buffer.log_from_thread(
                Level.WARNING, partial(recorder.describe_hold, blocked)
            )

    def log_waits(self, blocked: Blocked) -> None:
        """Add to the logs of all other runs that a node makes them wait; thread-safe."""
        blocking = self._recorder_of(blocked.run_id)
        for recorder in [*self._recorders.values()]:
            if recorder is not blocking:
                recorder.buffer.log_from_thread(
                    Level.WARNING, partial(_describe_wait, recorder.run.worker, blocked)
                )

    def _recorder_of(self, run_id: str) -> Recorder | None:
        return self._recorders.get(UUID(run_id)) if run_id else None

    async def _execute(
        self, run: Run, recorder: Recorder, cancellation: Cancellation
    ) -> None:
        """Prepare and execute the run, then record how it ended."""
        try:
            prepared = await prepare(run, recorder, self._registry)
        except Exception as error:  # of the author's factory, a missing workflow, …
            await _record_no_start(run, recorder, error)
            return
        if run.suspicion:
            recorder.buffer.log(Level.INFO, SEPARATE_PROCESS)
        if run.closing is not None:
            await undo_and_end.close(prepared, recorder, DecidedEnd.of(run), None)
        else:
            await self._run_graph(prepared, recorder, cancellation)

    async def _run_graph(
        self, prepared: PreparedRun, recorder: Recorder, cancellation: Cancellation
    ) -> None:
        undo_and_end.note_factory(prepared, recorder)
        try:
            state = await prepared.execute(cancellation)
        except Paused as paused:
            await recorder.pause(paused)
            if paused.until is not None or prepared.run.deadline_at is not None:
                self._on_wait()
        except ExecutionError as error:
            await _record_failure(prepared, recorder, error, cancellation)
        except Exception as error:  # the resume was refused
            await _record_no_start(prepared.run, recorder, error)
        else:
            await _record_completion(prepared, recorder, state, cancellation)

    # -- the end without a record -----------------------------------------------------

    async def _leave(self, run: Run, recorder: Recorder, signal: Superseded) -> None:
        """Leave a run whose record the fence refused, or that was released."""
        # the task of this recorder may have ended already: it is cancelled repeatedly
        is_held_again = self._recorders.get(run.pk, recorder) is not recorder
        try:
            if isinstance(signal, LeaseLost) and await run_in_db_retrying(
                rewinds.leave,
                run,
                recorder.buffer.position,
                is_held_again=is_held_again,
            ):
                return
        except Exception:
            logger.exception("Run %s was left, and its row could not be read.", run.pk)
            return
        logger.warning("Run %s was left: %s.", run.pk, signal)

    async def _fail_without_record(
        self, run: Run, recorder: Recorder, error: Exception
    ) -> None:
        try:
            await recorder.fail_without_record(error)
        except Superseded as signal:
            await self._leave(run, recorder, signal)
        except Exception:
            logger.exception(
                "The failure of run %s could not be stored; its lease will expire.",
                run.pk,
            )

    async def _release(self, run: Run, recorder: Recorder, *, requested: bool) -> None:
        """Release a run whose task was cancelled; if that fails its lease expires.

        Only a drain requests that. Any other cancellation comes from code on the event
        loop, which would repeat it in each worker that takes the run: those are counted.
        """
        try:
            await recorder.release(requested=requested)
        except Superseded as signal:
            await self._leave(run, recorder, signal)
        except Exception as error:
            logger.warning(
                "Run %s was not released (%s): its lease will expire.", run.pk, error
            )


async def _record_no_start(run: Run, recorder: Recorder, error: Exception) -> None:
    logger.warning("Run %s could not start.", run.pk, exc_info=error)
    if run.closing is not None:
        why = undo_and_end.unfinished(describe(error))
        await undo_and_end_records.end_as_decided(
            recorder, DecidedEnd.of(run), unfinished=why
        )
        return
    # an author's error may have an attribute `code` too, with any value
    is_ours = isinstance(error, WorkflowError)
    code = (getattr(error, "code", "") if is_ours else "") or "not_started"
    await recorder.end(
        Status.FAILED,
        message=describe(error),
        code=code,
        traceback=format_traceback(error),
    )


async def _record_completion(
    prepared: PreparedRun,
    recorder: Recorder,
    state: State,
    cancellation: Cancellation,
) -> None:
    launcher = recorder.launcher
    try:
        params = await launcher.params_after(prepared.graph, state, cancellation)
    except Exception as error:  # of the function that computes the params
        end = _decided(
            prepared,
            recorder,
            Status.FAILED,
            message=describe(error),
            code="node_failed",
            node=state.checkpoint_node,
            traceback=format_traceback(error),
        )
        await _end(prepared, recorder, end)
        return
    end = _decided(prepared, recorder, Status.COMPLETED)
    if params is not None:
        end = replace(end, next_params=params)
    await _end(prepared, recorder, end, checkpoints.dumps(state.data))


async def _record_failure(
    prepared: PreparedRun,
    recorder: Recorder,
    error: ExecutionError,
    cancellation: Cancellation,
) -> None:
    if error.is_cancelled:
        end = _decided(
            prepared,
            recorder,
            Status.CANCELLED,
            message=cancellation.reason,
            code="cancelled",
            node=error.node,
        )
        await _end(prepared, recorder, end)
        return
    logger.warning("Run %s failed at %s: %s", prepared.run.pk, error.node, error)
    end = _decided(
        prepared,
        recorder,
        Status.FAILED,
        message=describe(error),
        code="deadline" if error.is_deadline else error.code,
        node=error.node,
        traceback=format_traceback(error),
    )
    await _end(prepared, recorder, end)


def _decided(
    prepared: PreparedRun, recorder: Recorder, status: Status, **details: Any
) -> DecidedEnd:
    sequence = recorder.buffer.sequence
    return DecidedEnd(status.value, prepared.run.attempt, sequence, **details)


async def _end(
    prepared: PreparedRun,
    recorder: Recorder,
    end: DecidedEnd,
    result: str | None = None,
) -> None:
    """Commit the end of the run, after what follows it."""
    if undo_and_end.has_nodes_for(prepared, end):
        await undo_and_end_records.decide_end(recorder, end)
        await undo_and_end.close(prepared, recorder, end, result)
    else:
        await undo_and_end_records.commit_end(recorder, end, result)


def _describe_wait(worker: str, blocked: Blocked) -> str:
    return (
        f"The event loop of worker {worker} was blocked for {blocked.seconds:.0f} s by code"
        " of another run: this run had to wait."
    )
