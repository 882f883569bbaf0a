"""The Runtime of a rerun in memory: it reads what a server reads, and stores no row of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from workflows.agents.budgets import reached
from workflows.agents.lookup import row_of
from workflows.documents.runtime_documents import StoredDocuments
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import AgentCall, Run
from workflows.runtime.fakes import FakeDocuments, NodeDocuments

if TYPE_CHECKING:
    from os import PathLike
    from uuid import UUID

    from workflows.agents.provider import Call
    from workflows.runtime import NodeContext
    from workflows.runtime.records import DocumentInfo, Page


class NoLog:
    """Drops the lines of nodes."""

    def debug(self, message: str, *args: object) -> None:
        """Log nothing."""

    info = warning = error = debug


class NoPreview:
    """Shows no part of a streamed response."""

    def add(self, piece: str) -> None:
        """Show nothing."""

    async def end(self) -> None:
        """End nothing."""


@dataclass(slots=True)
class WorkflowCalls:
    """Records calls of agents for the workflow, without a run; budgets count them."""

    workflow: str
    rows: list[AgentCall] = field(default_factory=list)
    keeps_content: Final = False

    async def allow(self, context: NodeContext | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Return when the next call may be made. Raises BudgetReached."""
        run = Run(workflow_name=self.workflow)  # of which nothing is stored
        if pause := await run_in_db_retrying(reached, run, list(self.rows)):
            raise pause

    def enter(self, call: Call) -> None:
        """Record a call that has ended."""
        row = row_of(call)
        row.workflow_name = self.workflow
        self.rows.append(row)

    def preview(self, call: Call) -> NoPreview:  # noqa: ARG002 - the protocol's signature
        """Return a preview that nobody sees."""
        return NoPreview()

    def store(self) -> None:
        """Store the calls: their cost remains."""
        AgentCall.objects.bulk_create(self.rows)


class ReadDocuments:
    """The stored documents; what nodes add is kept in memory."""

    def __init__(self) -> None:
        self._made = FakeDocuments()
        no_files: Any = None  # they are kept in memory
        self._stored = StoredDocuments(no_files)
        self._context: NodeContext | None = None

    def at(self, context: NodeContext) -> ReadDocuments:
        """Return the documents for a node."""
        bound = ReadDocuments()
        bound._made, bound._stored = self._made, self._stored
        bound._context = context
        return bound

    async def add(
        self,
        name: str,
        content: bytes | str | PathLike[str],
        /,
        content_type: str | None = None,
    ) -> UUID:
        """Keep a file in memory. Raises Invalid, Duplicate."""
        context: Any = self._context
        return await NodeDocuments(self._made, context).add(name, content, content_type)

    async def get(self, document: UUID) -> DocumentInfo:
        """Return the name, type and size. Raises NotFound."""
        return await self._either(document).get(document)

    async def read(self, document: UUID) -> bytes:
        """Return the content. Raises NotFound."""
        return await self._either(document).read(document)

    async def pages(self, document: UUID) -> tuple[Page, ...]:
        """Return the text layer of every page. Raises NotFound, Unsupported, PdfError."""
        return await self._either(document).pages(document)

    async def page(self, document: UUID, number: int) -> Page:
        """Return the text layer of one page. Raises NotFound, PdfError."""
        return await self._either(document).page(document, number)

    async def scan(
        self, document: UUID, number: int, *, enhanced: bool = False
    ) -> tuple[Page, ...]:
        """Return the text recognized on a page image. Raises as `page`; Unavailable."""
        return await self._either(document).scan(document, number, enhanced=enhanced)

    def _either(self, document: UUID) -> StoredDocuments | FakeDocuments:
        is_made = any(one.id == document for one in self._made.made)
        return self._made if is_made else self._stored
