"""Launches runs for the nodes of one run, in records of that run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from workflows.engine.child_nodes import ContinueAsNew
from workflows.engine.context import NodeContext
from workflows.execution import run_links
from workflows.execution.params import check_params
from workflows.infra import notifications, tracing
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.engine import Cancellation, Graph, State
    from workflows.execution.record_buffer import RecordBuffer
    from workflows.models import Run
    from workflows.registry import Registry

MASKED_PARAMS: Final = (
    "The params of the run that “{}” launches contained a secret of this run. It was replaced by"
    " “•••”, because params are stored as plain text."
)


class RunLauncher:
    """Launches runs for the nodes of one attempt of a run."""

    def __init__(self, run: Run, buffer: RecordBuffer, workflows: Registry) -> None:
        self._run = run
        self._buffer = buffer
        self._workflows = workflows
        self._next_params: Mapping[str, Any] | None = None

    async def launch(self, context: NodeContext, workflow: str, params: Any) -> str:
        """Return the id of the run that a step launches, committed by then.

        Raises the errors of `run_links.new_run`, LeaseLost, and the database's error if it
        refused the record.
        """
        place = self._run, context.sequence
        found = await run_in_db_retrying(run_links.launched_at, *place)
        if found is None:
            new = await run_in_db_retrying(
                run_links.new_run,
                self._run,
                workflow,
                self._masked(context.node, params),
                self._workflows,
                tracing.traceparent(),
            )
            write = partial(run_links.insert, new, *place)
            self._buffer.record.extra_writes.append(write)
            await self._buffer.flush()
            # not in the writer's thread, which no event loop awaits
            await run_in_db_retrying(notifications.launched_on_commit)
            # that of an earlier try may have been committed in between
            found = await run_in_db_retrying(run_links.launched_at, *place)
        if found is None:
            raise RuntimeError(f"The run that “{context.node}” launched was deleted.")
        return found

    async def prepare_successor(self, context: NodeContext, params: Any) -> None:
        """Check and keep the params of the run that continues this one.

        Raises InvalidParams, and the errors of `run_links.new_successor`.
        """
        workflow = self._workflows.get(self._run.workflow_name)
        given = self._masked(context.node, params)
        checked = await run_in_db_retrying(check_params, workflow, given)
        await self.successor(checked)
        self._next_params = checked

    async def successor(self, params: Mapping[str, Any]) -> Run:
        """Return the run that continues this one, not inserted.

        Raises the errors of `run_links.new_successor`.
        """
        return await run_in_db_retrying(
            run_links.new_successor,
            self._run,
            params,
            self._workflows,
            tracing.traceparent(),
        )

    async def params_after(
        self, graph: Graph, state: State, cancellation: Cancellation
    ) -> Mapping[str, Any] | None:
        """Return the params with which a completed run continues, None if it does not.

        They are computed again if an earlier attempt completed the last node.
        Raises SubworkflowFailed, and any error of the author's function.
        """
        node = graph.nodes.get(state.checkpoint_node)
        if not isinstance(node, ContinueAsNew):
            return None
        if self._next_params is None:
            context = NodeContext(
                run_id=str(self._run.pk),
                node=state.checkpoint_node,
                sequence=state.sequence,
                iteration=0,
                cancellation=cancellation,
                clock=graph.clock,
                launcher=self,
            )
            await node.prepare_again(state, context)
        return self._next_params

    def _masked(self, node: str, params: Any) -> Any:
        masked = self._buffer.masker.value(params)
        if masked != params:
            self._buffer.log(Level.WARNING, MASKED_PARAMS.format(node))
        return masked
