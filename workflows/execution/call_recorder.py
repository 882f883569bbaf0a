"""The calls of agents in a run, stored with the record of the step that made them."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from workflows.agents import call_content
from workflows.agents.budgets import reached
from workflows.agents.lookup import row_of
from workflows.agents.payers import existing, payer_of
from workflows.execution.stream_preview import LiveStreamPreview
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import AgentCall, CallContent, CallStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.agents.call_content import Exchange
    from workflows.agents.call_requests import CallRequest
    from workflows.agents.provider import Call
    from workflows.agents.recordings import Found
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
        *,
        keeps_content: bool = False,
    ) -> None:
        """`attach_write` adds a write to the transaction of the run's next record.

        With `keeps_content`, prompts and answers are stored; without, only an answer that
        cannot be parsed.
        """
        self.keeps_content = keeps_content
        self._masker = masker
        self._run = run
        self._attach_write = attach_write
        self._payers: list[int | None] = []  # one, once it is known
        self._unsaved: dict[UUID, AgentCall] = {}  # entered, and not yet committed

    async def allow(self, context: NodeContext | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Return when the next call may be made. Raises BudgetReached."""
        unsaved = list(self._unsaved.values())
        if pause := await run_in_db_retrying(reached, self._run, unsaved):
            raise pause

    def enter(self, call: Call) -> None:
        """Record a call that has ended."""
        row = row_of(call)
        node = call.context.node if call.context else ""
        self._enter(row, call.exchange, node)

    def enter_replayed(
        self, request: CallRequest, found: Found, context: NodeContext | None
    ) -> None:
        """Record a call whose recorded answer was used: without tokens and cost."""
        if found.call is None:
            return
        origin = found.call.row
        row = AgentCall(
            run_id=self._run.pk,
            attempt=self._run.attempt,
            sequence=context.sequence if context else 0,
            item=getattr(context, "item", None),
            workflow_name=self._run.workflow_name,
            kind=request.kind,
            agent_name=origin.agent_name,
            provider_name=origin.provider_name,
            model=origin.model,
            cost=Decimal(0),
            latency_ms=0.0,
            status=CallStatus.COMPLETED,
            replay=found.outcome,
            replayed_from=origin.pk,
        )
        self._unsaved[row.pk] = row
        self._attach_write(partial(self._store_replayed, row))

    def _store_replayed(self, row: AgentCall) -> None:
        """Store a replayed call with a copy of the content, if that is still there."""
        self._store(row)
        content = CallContent.objects.filter(pk=row.replayed_from).first()
        if content is not None and self.keeps_content:
            content.call_id, content.run_id = row.pk, self._run.pk
            CallContent.objects.bulk_create([content], ignore_conflicts=True)

    def _enter(self, row: AgentCall, exchange: Exchange, node: str) -> None:
        row.run_id = self._run.pk
        row.attempt = self._run.attempt
        row.workflow_name = self._run.workflow_name
        row.error_message = self._masker.text(row.error_message)
        self._unsaved[row.pk] = row
        write = partial(self._store, row)
        if self.keeps_content or exchange.problem:
            write = partial(self._store_with_content, row, exchange, node)
        self._attach_write(write)

    def _store(self, row: AgentCall) -> None:
        row.person_id = existing(self._payer())
        # repeated when a COMMIT was lost on the way: the id makes that harmless
        AgentCall.objects.bulk_create([row], ignore_conflicts=True)
        transaction.on_commit(lambda: self._unsaved.pop(row.pk, None))

    def _payer(self) -> int | None:
        """Return who pays for the run; read once, on a database thread."""
        if not self._payers:
            self._payers.append(payer_of(self._run))
        return self._payers[0]

    def _store_with_content(
        self, row: AgentCall, exchange: Exchange, node: str
    ) -> None:
        """Store a call with its content; it is compressed here, away from the event loop."""
        self._store(row)
        content = call_content.pack(exchange, self._masker)
        content.call_id, content.run_id = row.pk, self._run.pk
        content.node_name = node
        CallContent.objects.bulk_create([content], ignore_conflicts=True)

    def preview(self, call: Call) -> LiveStreamPreview:
        """Return the preview of a streamed response."""
        sequence = call.context.sequence if call.context else 0
        return LiveStreamPreview(
            self._run, AgentCall().pk, sequence, call.service.agent, self._masker
        )
