"""Cold start: everything a run needs is read and built before a node runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workflows.agents.run_keys import RunKey
from workflows.engine import CheckpointConfig, Graph, GraphConfig, State
from workflows.engine.author_code import call_contained
from workflows.engine.errors import CheckpointMismatch
from workflows.engine.failures import Failure
from workflows.engine.resources import open_resources
from workflows.execution import masking
from workflows.execution.build_runtime import CallOptions, build_runtime
from workflows.execution.earlier_attempts import history_of
from workflows.execution.masking import Masker
from workflows.execution.params import check_params
from workflows.execution.replayed_answers import recordings_for
from workflows.execution.variables import variables_of
from workflows.infra import clock
from workflows.infra.database_threads import run_in_db_retrying

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from workflows.engine import Cancellation
    from workflows.execution.checkpoints import Snapshot
    from workflows.execution.earlier_attempts import History
    from workflows.execution.recorder import Recorder
    from workflows.models import Run
    from workflows.registry import AnyWorkflow, Registry
    from workflows.runtime import Runtime

_EVERY_STEP = GraphConfig(checkpoint=CheckpointConfig(interval=1, preserve=True))


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready to be executed."""

    run: Run
    graph: Graph
    runtime: Runtime
    initial: State
    history: History

    def state_of(self, snapshot: Snapshot) -> State:
        """Return a stored state in its type. Raises CheckpointMismatch."""
        return _read_state(self, snapshot, snapshot.data)

    async def execute(self, cancellation: Cancellation) -> State:
        """Run the graph from its start or from the last checkpoint; return the final state.

        Raises Paused, ExecutionError.
        """
        deadline = None
        if self.run.deadline_at is not None:
            deadline = await run_in_db_retrying(seconds_until, self.run.deadline_at)
        if self.history.snapshot is None:
            return await self.graph.execute(
                self.initial,
                runtime=self.runtime,
                cancellation=cancellation,
                deadline=deadline,
            )
        reply = self.history.reply
        return await self.graph.resume(
            str(self.run.pk),
            runtime=self.runtime,
            cancellation=cancellation,
            deadline=deadline,
            enter=self.history.entry or None,
            answer=reply.answer if reply else None,
            state_type=type(self.initial),
        )


def seconds_until(deadline: dt.datetime) -> float:
    """Return the seconds until a deadline, by the time of the database."""
    return max((deadline - clock.now()).total_seconds(), 0.0)


async def prepare(run: Run, recorder: Recorder, workflows: Registry) -> PreparedRun:
    """Return a claimed run with its graph, runtime and state.

    Raises WorkflowNotFound, CheckpointMismatch, InvalidToken, and any error of the
    author's factory, migration or validators.
    """
    key = RunKey.decrypted(run.secrets)
    recorder.buffer.masker = Masker([key.key])
    masking.OF_RUN.set(recorder.buffer.masker)
    history = await history_of(run)
    recorder.continue_from(history)
    workflow = _workflow_of(run, workflows)
    values = await variables_of(run.workflow_name, recorder.buffer.masker.add)
    resources = await open_resources().open(workflow.resources, str(run.pk))
    recordings = None
    if run.forked_from_id is not None or run.parent_id is not None:
        masker = recorder.buffer.masker
        recordings = await run_in_db_retrying(recordings_for, run, masker)
    calls = CallOptions(workflow.call_content, recordings)
    runtime = build_runtime(run, recorder.buffer, key, values, resources, calls=calls)
    graph = _build_graph(workflow, recorder, workflows)
    recorder.step_limit = graph.config.max_iterations
    recorder.has_fixed_start = workflow.has_fixed_start
    initial = call_contained(partial(_initial_state, workflow, graph, runtime, run))
    if key.key:
        initial = initial.set_secret("token", key.key)
    prepared = PreparedRun(run, graph, runtime, initial, history)
    if history.snapshot is not None:
        _restore(prepared, history.snapshot, recorder, workflow)
    return prepared


def _workflow_of(run: Run, workflows: Registry) -> AnyWorkflow:
    """Return the run's workflow. Raises WorkflowNotFound, CheckpointMismatch."""
    workflow = workflows.get(run.workflow_name)
    if run.fingerprint and not workflow.accepts(run.fingerprint):
        raise CheckpointMismatch(
            f"{run.workflow_name} has changed since this run started. Launch a new"
            " run, or declare the old version compatible in the workflow and resume"
            " this one."
        )
    return workflow


def _build_graph(
    workflow: AnyWorkflow, recorder: Recorder, workflows: Registry
) -> Graph:
    """Return a graph without nodes that stores a checkpoint after every step."""

    async def check_child(_context: object, name: str, params: Any) -> Any:
        """Return params of a child run as stored. Raises WorkflowNotFound, InvalidParams."""
        return await run_in_db_retrying(check_params, workflows.get(name), params)

    config = workflow.config.merge(_EVERY_STEP) if workflow.config else _EVERY_STEP
    return Graph(
        recorder.run.workflow_name,
        config,
        observer=recorder,
        checkpoints=recorder,
        check_child=check_child,
        launcher=recorder.launcher,
    )


def _initial_state(
    workflow: AnyWorkflow, graph: Graph, runtime: Runtime, run: Run
) -> State:
    """Build the graph with the author's factory; return the state that it starts with."""
    state: object = workflow.factory(graph, runtime, workflow.params_of(run.params))
    if isinstance(state, State):
        return state.stamped(run_id=str(run.pk))
    raise TypeError(
        f"The factory of {workflow.name} returned {type(state).__name__}: return the"
        " state that a run starts with."
    )


def _restore(
    prepared: PreparedRun, snapshot: Snapshot, recorder: Recorder, workflow: AnyWorkflow
) -> None:
    """Give the recorder the last state, migrated if the workflow has changed."""
    run = prepared.run
    data = call_contained(partial(workflow.migrated, snapshot.data, run.fingerprint))
    is_migrated = data is not snapshot.data
    state = _read_state(prepared, snapshot, data)
    recorder.restore(state, workflow if is_migrated else None)


def _read_state(
    prepared: PreparedRun, snapshot: Snapshot, data: Mapping[str, Any]
) -> State:
    initial = prepared.initial
    read = partial(  # by the author's validators
        type(initial).from_data,
        data,
        run_id=str(prepared.run.pk),
        checkpoint_node=snapshot.node,
        sequence=snapshot.sequence,
        secrets=initial.secrets,
        failure=Failure.from_json(snapshot.failure),
    )
    return call_contained(read)
