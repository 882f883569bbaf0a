"""The calls of agents in a run, stored with the record of the step that made them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from workflows.agents.budgets import reached
from workflows.agents.lookup import row_of
from workflows.execution.stream_preview import LiveStreamPreview
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import AgentCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.agents.provider import Call
    from workflows.execution.masking import Masker
    from workflows.models import Run
    from workflows.runtime.protocols import NodeContext


class RunCallRecorder:
    """Records the calls of one attempt of a run, each with the record of its step.

    A long step does not delay them: they are committed shortly after.
    """

    def __init__(
        self,
        run: Run,
        attach_write: Callable[[Callable[[], None]], None],
        masker: Masker,
    ) -> None:
        """`attach_write` adds a write to the transaction of the run's next record."""
        self._masker = masker
        self._run = run
        self._attach_write = attach_write
        self._unsaved: dict[UUID, AgentCall] = {}  # entered, and not yet committed

    async def allow(self, context: NodeContext | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Return when the next call may be made. Raises BudgetReached."""
        unsaved = list(self._unsaved.values())
        if pause := await run_in_db_retrying(reached, self._run, unsaved):
            raise pause

    def enter(self, call: Call) -> None:
        """Record a call that has ended."""
        row = row_of(call)
        row.run_id = self._run.pk
        row.attempt = self._run.attempt
        row.workflow_name = self._run.workflow_name
        row.error_message = self._masker.text(row.error_message)
        self._unsaved[row.pk] = row
        self._attach_write(partial(self._store, row))

    def _store(self, row: AgentCall) -> None:
        # repeated when a COMMIT was lost on the way: the id makes that harmless
        AgentCall.objects.bulk_create([row], ignore_conflicts=True)
        transaction.on_commit(lambda: self._unsaved.pop(row.pk, None))

    def preview(self, call: Call) -> LiveStreamPreview:
        """Return the preview of a streamed response."""
        sequence = call.context.sequence if call.context else 0
        return LiveStreamPreview(
            self._run, AgentCall().pk, sequence, call.service.agent, self._masker
        )
