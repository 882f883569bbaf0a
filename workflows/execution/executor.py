"""From a claimed row to an end: cold start, hot start, post-commit.

    cold start    everything the run needs is read and built; no node has run
    hot start     the engine walks the graph, the recorder makes each step durable
    post-commit   the end is recorded; whoever waits for it is told

Whatever happens, the run's row says so in the end: completed, failed with a sentence,
cancelled, waiting, or back in the queue. The last write never depends on the run's own
task being alive and well.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import ThreadSensitiveContext

from workflows.engine import CheckpointConfig, Graph, GraphConfig, State, threads
from workflows.engine.containment import call_contained
from workflows.engine.errors import (
    CheckpointMismatch,
    ExecutionError,
    Paused,
    Superseded,
    WorkflowError,
    describe,
    formatted,
)
from workflows.execution import (
    checkpoints,
    masking,
    node_connections,
    pauses,
    queue,
    stream_preview,
)
from workflows.execution.build_runtime import provide
from workflows.execution.call_recorder import RunCallRecorder
from workflows.execution.masking import Masker
from workflows.execution.params import check_params
from workflows.execution.recorder import Recorder
from workflows.execution.tries import NO_TRIES, Tries, tries_of
from workflows.infra import encryption, log_context
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Level, StageItem, Status
from workflows.registry import AnyWorkflow, Registry, registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from workflows.engine import Cancellation
    from workflows.execution.checkpoints import Snapshot
    from workflows.execution.heartbeat import Blocked
    from workflows.execution.pauses import Reply
    from workflows.execution.writer import Writer
    from workflows.models import Run
    from workflows.runtime import Runtime

logger = logging.getLogger(__name__)

_EVERY_STEP = GraphConfig(checkpoint=CheckpointConfig(interval=1, preserve=True))


@dataclass(slots=True)
class History:
    """What earlier attempts left for this one."""

    snapshot: Snapshot | None = None
    kept: dict[int, dict[int, Any]] | None = None
    reply: Reply | None = None
    waiting_since: Any = None
    tries: Tries = NO_TRIES


class Executor:
    """Runs claimed runs of one worker, each in a task of its own."""

    def __init__(
        self,
        writer: Writer,
        *,
        draining: Callable[[], bool],
        on_wait: Callable[[], None] = lambda: None,
        workflows: Registry = registry,
    ) -> None:
        """Take the writer that makes steps durable and where workflows are found.

        `on_wait` is called when a run has begun to wait for a moment.
        """
        self._writer = writer
        self._on_wait = on_wait
        self._draining = draining
        self._registry = workflows
        self._recorders: dict[UUID, Recorder] = {}  # of the runs under way
        threads.pool.around_calls(
            prepare=node_connections.prepare, clean_up=node_connections.clean_up
        )

    async def run(self, run: Run, cancellation: Cancellation) -> None:
        """Take one claimed run as far as it goes. Raises nothing but CancelledError."""
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
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._walk(run, recorder, cancellation)
        except Superseded as signal:
            logger.warning("Run %s was left: %s.", run.pk, signal)
        except asyncio.CancelledError:
            await _let_go(run, recorder, requested=self._draining())
            raise
        except Exception as error:
            logger.exception("Run %s could not record what it did.", run.pk)
            await _fail_plainly(run, recorder, error)
        finally:
            thread.end()
            if self._recorders.get(run.pk) is recorder:
                del self._recorders[run.pk]
        if run.parent_id is not None:
            await run_in_db_retrying(queue.wake_parent, run.pk)

    async def release(self, run: Run) -> None:
        """Give a run back to the queue whose task does not end when it is cancelled."""
        recorder = self._recorders.get(run.pk)
        if recorder is None or recorder.run is not run:
            return
        logger.error(
            "Run %s is released although its node still works: it ignores that it is"
            " cancelled.",
            run.pk,
        )
        await _let_go(run, recorder, requested=True)

    def note_blocked(self, worker: str, blocked: Blocked) -> None:
        """Let the log of each run say what held it up; call it from any thread."""
        loop = f"The event loop of worker {worker} was blocked for"
        for run_id, recorder in [*self._recorders.items()]:
            if str(run_id) == blocked.run_id:
                end = (
                    f"in node {blocked.node}, and so were all other runs of this worker:"
                    " a node that computes or waits without `await` has to be a sync one."
                )
            else:
                end = "by other code: this run had to wait."
            recorder.note(
                Level.WARNING,
                lambda end=end: f"{loop} {max(blocked.seconds, 1):.0f} s {end}",  # type: ignore[misc]
            )

    async def _read_history(self, run: Run) -> History:
        if run.attempt == 1 and not run.waiting_node:
            return History()
        return await run_in_db_retrying(read_history, run)

    async def _walk(
        self, run: Run, recorder: Recorder, cancellation: Cancellation
    ) -> None:
        """Read, build, walk, and record how it ended."""
        try:
            recorder.masker = Masker(encryption.decrypt(run.secrets).values())
            masking.OF_RUN.set(recorder.masker)
            history = await self._read_history(run)
            recorder.go_on(history.reply, history.waiting_since, history.tries)
            workflow = self._workflow_of(run)
            runtime = provide(
                recorder.log,
                RunCallRecorder(run, recorder.beside, recorder.masker),
                token=_token(run),
                stages=run.profile_stages,
            )
            state = await self._advance(
                run, recorder, history, cancellation, workflow, runtime
            )
        except Paused as paused:
            await recorder.pause(paused)
            if paused.until is not None:
                self._on_wait()
        except ExecutionError as error:
            await _record_failure(run, recorder, error, cancellation)
        except (
            Exception
        ) as error:  # the author's factory, a mismatch, a missing workflow
            logger.warning("Run %s could not start.", run.pk, exc_info=True)
            # an author's error may have a `code` too, and it may be anything
            ours = isinstance(error, WorkflowError)
            code = (getattr(error, "code", "") if ours else "") or "not_started"
            await recorder.end(
                Status.FAILED,
                message=describe(error),
                code=code,
                traceback=formatted(error),
            )
        else:
            result = checkpoints.dumps(state.data)
            await recorder.end(Status.COMPLETED, result=result)

    def _workflow_of(self, run: Run) -> AnyWorkflow:
        """Return the run's workflow. Raises WorkflowNotFound, CheckpointMismatch."""
        workflow = self._registry.get(run.workflow_name)
        if run.fingerprint and not workflow.accepts(run.fingerprint):
            raise CheckpointMismatch(
                f"{run.workflow_name} has changed since this run started. Launch a new"
                " run, or declare the old version compatible in the workflow and resume"
                " this one."
            )
        return workflow

    async def _check_child(self, _context: object, name: str, given: Any) -> Any:
        """Return params of a child run as they are stored.

        Raises WorkflowNotFound, InvalidParams.
        """
        workflow = self._registry.get(name)
        return await run_in_db_retrying(check_params, workflow, given)

    async def _advance(  # noqa: PLR0913, PLR0917 - the whole of one start
        self,
        run: Run,
        recorder: Recorder,
        history: History,
        cancellation: Cancellation,
        workflow: AnyWorkflow,
        runtime: Runtime,
    ) -> State:
        """Cold start: a graph with its first state, or its last one; then walk it."""
        graph = Graph(
            run.workflow_name,
            workflow.config.merge(_EVERY_STEP) if workflow.config else _EVERY_STEP,
            observer=recorder,
            checkpoints=recorder,
            check_child=self._check_child,
        )
        recorder.step_limit = graph.config.max_iterations
        initial = call_contained(partial(_initial, workflow, graph, runtime, run))
        token = _token(run)
        if token:
            initial = initial.set_secret("token", token)
        if history.snapshot is None:
            return await graph.execute(
                initial, runtime=runtime, cancellation=cancellation
            )
        data = call_contained(
            partial(workflow.migrated, history.snapshot.data, run.fingerprint)
        )
        if data is not history.snapshot.data:
            recorder.migrate(workflow)
        read = partial(  # by validators of the author's
            type(initial).from_data,
            data,
            run_id=str(run.pk),
            checkpoint_node=history.snapshot.node,
            sequence=history.snapshot.sequence,
            secrets=initial.secrets,
        )
        state = call_contained(read)
        recorder.restore(state, history.kept or {})
        return await graph.resume(
            str(run.pk),
            runtime=runtime,
            cancellation=cancellation,
            enter=run.waiting_node or None,
            answer=history.reply.answer if history.reply else None,
            state_type=type(initial),
        )


def _initial(workflow: AnyWorkflow, graph: Graph, runtime: Runtime, run: Run) -> State:
    """Build the graph by the author's factory; return the state that it starts with."""
    state: object = workflow.factory(graph, runtime, workflow.params_of(run.params))
    if isinstance(state, State):
        return state.stamped(run_id=str(run.pk))
    raise TypeError(
        f"The factory of {workflow.name} returned {type(state).__name__}: return the"
        " state that a run starts with."
    )


def read_history(run: Run) -> History:
    """Return what earlier attempts left: state, kept items, what ended the pause.

    Words of an answer that a lost worker was hearing are forgotten: it will never end.
    """
    stream_preview.forget(run.pk)
    items = StageItem.objects.filter(run=run, sequence=run.sequence + 1)
    kept: dict[int, dict[int, Any]] = {}
    for item in items:
        kept.setdefault(item.sequence, {})[item.index] = json.loads(item.data)
    pausing = bool(run.waiting_node)
    return History(
        snapshot=checkpoints.rebuild(run.pk),
        kept=kept,
        reply=pauses.reply_to(run) if pausing else None,
        waiting_since=pauses.waiting_since(run) if pausing else None,
        tries=tries_of(run),
    )


async def _record_failure(
    run: Run, recorder: Recorder, error: ExecutionError, cancellation: Cancellation
) -> None:
    if error.is_cancelled:
        await recorder.end(
            Status.CANCELLED,
            message=cancellation.reason,
            code="cancelled",
            node=error.node,
        )
        return
    logger.warning("Run %s failed at %s: %s", run.pk, error.node, error)
    await recorder.end(
        Status.FAILED,
        message=describe(error),
        code=error.code,
        node=error.node,
        traceback=formatted(error),
    )


async def _fail_plainly(run: Run, recorder: Recorder, error: Exception) -> None:
    try:
        await recorder.fail_without_record(error)
    except Superseded:
        logger.info("Run %s had left this worker before it failed.", run.pk)
    except Exception:
        logger.exception("Run %s could not be failed; its lease will end.", run.pk)


async def _let_go(run: Run, recorder: Recorder, *, requested: bool) -> None:
    """Give a run back whose task was stopped; its lease is the net if that fails.

    Only a drain requests that. Any other cancellation comes from code on the event loop,
    which would repeat it in each worker that takes the run: those are counted.
    """
    try:
        await asyncio.shield(recorder.release(requested=requested))
    except Superseded:
        logger.info("Run %s had left this worker before it was released.", run.pk)
    except Exception as error:
        logger.warning(
            "Run %s was not released (%s): its lease will end.", run.pk, error
        )


def _token(run: Run) -> str:
    return encryption.decrypt(run.secrets).get("token", "")
