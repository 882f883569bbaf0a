"""Export of decisions as a streamed CSV, JSON Lines or JSON file, as the page lists them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from workflows.pages.lists.export import CHUNK, file_parts, records_text
from workflows.pages.lists.pagination import iter_pages
from workflows.pages.redaction import HIDDEN, by_workflow, is_redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from workflows.access.permissions import WorkflowSet
    from workflows.models import Decision
    from workflows.pages.lists.decision_filters import DecisionFilters

HEAD: Final = (
    "run",
    "workflow",
    "attempt",
    "step",
    "edge",
    "from",
    "to",
    "taken",
    "condition",
    "met",
    "reason",
    "kind",
    "decided_by",
    "comment",
    "created_at",
    "values",
)


@dataclass(frozen=True, slots=True)
class DecisionExport:
    """The decisions that match filters, newest first."""

    filters: DecisionFilters
    person: User
    kind: str  # one of `export.KINDS`
    read: WorkflowSet  # the workflows whose data the user may view

    def parts(self) -> Iterator[str]:
        """Yield the parts of the file; each is computed when the previous one was sent."""
        return file_parts(self.kind, HEAD, self._texts())

    def _texts(self) -> Iterator[str]:
        for page in iter_pages(partial(self.filters.page, self.person, size=CHUNK)):
            if rows := by_workflow(self.read, page):
                yield records_text(self.kind, map(_record, rows))


def _record(row: Decision) -> dict[str, Any]:
    values = (
        str(row.run_id),
        row.workflow_name,
        row.attempt,
        row.sequence,
        row.edge_index,
        row.from_node,
        row.to_node,
        row.taken,
        row.predicate_name,
        row.predicate_result,
        row.reason,
        row.kind or "",
        row.decided_by.get_username() if row.decided_by else "",
        row.comment,
        row.created_at.isoformat(timespec="milliseconds"),
        HIDDEN if is_redacted(row) else row.values,
    )
    return dict(zip(HEAD, values, strict=True))
