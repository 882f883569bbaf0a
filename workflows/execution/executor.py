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
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from workflows import secrets
from workflows.engine import CheckpointConfig, Graph, GraphConfig, State
from workflows.engine.errors import (
    CheckpointMismatch,
    ExecutionError,
    Paused,
    Superseded,
    describe,
)
from workflows.execution import checkpoints, pauses, queue, whereabouts, words
from workflows.execution.database import when_there
from workflows.execution.ledger import RunLedger
from workflows.execution.recorder import Recorder
from workflows.models import StageItem, Status
from workflows.params import check_params
from workflows.registry import Known, Registry, registry
from workflows.runtime.provide import provide

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.engine import Cancellation
    from workflows.execution.checkpoints import Snapshot
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


class Executor:
    """Runs claimed runs of one worker, each in a task of its own."""

    def __init__(
        self,
        writer: Writer,
        *,
        draining: Callable[[], bool],
        workflows: Registry = registry,
    ) -> None:
        """Take the writer that makes steps durable and where workflows are found."""
        self._writer = writer
        self._draining = draining
        self._registry = workflows

    async def run(self, run: Run, cancellation: Cancellation) -> None:
        """Take one claimed run as far as it goes. Raises nothing but CancelledError."""
        whereabouts.RUN.set(str(run.pk))
        recorder = Recorder(run, self._writer, draining=self._draining)
        try:
            await self._walk(run, recorder, cancellation)
        except Superseded as signal:
            logger.warning("Run %s was left: %s.", run.pk, signal)
        except asyncio.CancelledError:
            await _let_go(run, recorder)
            raise
        except Exception as error:
            logger.exception("Run %s could not record what it did.", run.pk)
            await _fail_plainly(run, recorder, error)
        if run.parent_id is not None:
            await when_there(queue.wake_parent, run.pk)

    async def _read_history(self, run: Run) -> History:
        if run.attempt == 1 and not run.waiting_node:
            return History()
        return await when_there(read_history, run)

    async def _walk(
        self, run: Run, recorder: Recorder, cancellation: Cancellation
    ) -> None:
        """Read, build, walk, and record how it ended."""
        try:
            history = await self._read_history(run)
            recorder.go_on(history.reply, history.waiting_since)
            workflow = self._workflow_of(run)
            runtime = provide(
                recorder.log,
                RunLedger(run, recorder.beside),
                token=_token(run),
                stages=run.profile_stages,
            )
            state = await self._advance(
                run, recorder, history, cancellation, workflow, runtime
            )
        except Paused as paused:
            await recorder.pause(paused)
        except ExecutionError as error:
            await _record_failure(run, recorder, error, cancellation)
        except (
            Exception
        ) as error:  # the author's factory, a mismatch, a missing workflow
            logger.warning("Run %s could not start.", run.pk, exc_info=True)
            code = getattr(error, "code", "") or "not_started"
            await recorder.end(
                Status.FAILED,
                message=_sentence(error),
                code=code,
                traceback=_traceback(error),
            )
        else:
            result = checkpoints.dumps(state.data)
            await recorder.end(Status.COMPLETED, result=result)

    def _workflow_of(self, run: Run) -> Known:
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
        return await when_there(check_params, workflow, given)

    async def _advance(  # noqa: PLR0913, PLR0917 - the whole of one start
        self,
        run: Run,
        recorder: Recorder,
        history: History,
        cancellation: Cancellation,
        workflow: Known,
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
        params = workflow.params_of(run.params)
        initial = workflow.factory(graph, runtime, params).stamped(run_id=str(run.pk))
        token = _token(run)
        if token:
            initial = initial.set_secret("token", token)
        if history.snapshot is None:
            return await graph.execute(
                initial, runtime=runtime, cancellation=cancellation
            )
        data = workflow.migrated(history.snapshot.data, run.fingerprint)
        if data is not history.snapshot.data:
            recorder.migrate(workflow)
        state = type(initial).from_data(
            data,
            run_id=str(run.pk),
            checkpoint_node=history.snapshot.node,
            sequence=history.snapshot.sequence,
            secrets=initial.secrets,
        )
        recorder.restore(state, history.kept or {})
        return await graph.resume(
            str(run.pk),
            runtime=runtime,
            cancellation=cancellation,
            enter=run.waiting_node or None,
            answer=history.reply.answer if history.reply else None,
            state_type=type(initial),
        )


def read_history(run: Run) -> History:
    """Return what earlier attempts left: state, kept items, what ended the pause.

    Words of an answer that a lost worker was hearing are forgotten: it will never end.
    """
    words.forget(run.pk)
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
        message=_sentence(error),
        code=error.code,
        node=error.node,
        traceback=_traceback(error),
    )


async def _fail_plainly(run: Run, recorder: Recorder, error: Exception) -> None:
    try:
        await recorder.fail_plainly(error)
    except Superseded:
        logger.info("Run %s had left this worker before it failed.", run.pk)
    except Exception:
        logger.exception("Run %s could not be failed; its lease will end.", run.pk)


async def _let_go(run: Run, recorder: Recorder) -> None:
    """Give a run back whose task was stopped; its lease is the net if that fails."""
    try:
        await asyncio.shield(recorder.release())
    except Superseded:
        logger.info("Run %s had left this worker before it was released.", run.pk)
    except Exception as error:
        logger.warning(
            "Run %s was not released (%s): its lease will end.", run.pk, error
        )


def _token(run: Run) -> str:
    return secrets.decrypt(run.secrets).get("token", "")


def _sentence(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return describe(error)
    return str(error) or f"{type(error).__name__} was raised without a message."


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
