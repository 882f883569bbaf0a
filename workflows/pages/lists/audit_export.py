"""Export of the audit log as a streamed CSV, JSON Lines or JSON file, as the page lists it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from workflows.pages.lists.audit_filters import can_read
from workflows.pages.lists.export import CHUNK, file_parts, records_text
from workflows.pages.lists.pagination import iter_pages
from workflows.pages.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from workflows.models import AuditEvent
    from workflows.pages.lists.audit_filters import AuditFilters

HEAD: Final = (
    "id",
    "created_at",
    "actor",
    "token",
    "address",
    "action",
    "run",
    "workflow",
    "reason",
    "status_before",
    "status_after",
    "before",
    "after",
)


@dataclass(frozen=True, slots=True)
class AuditExport:
    """The audit events that match filters, newest first."""

    filters: AuditFilters
    person: User
    kind: str  # one of `export.KINDS`

    def parts(self) -> Iterator[str]:
        """Yield the parts of the file; each is computed when the previous one was sent."""
        return file_parts(self.kind, HEAD, self._texts())

    def _texts(self) -> Iterator[str]:
        for rows in iter_pages(partial(self.filters.page, self.person, size=CHUNK)):
            if rows:
                yield records_text(self.kind, map(self._record, rows))

    def _record(self, row: AuditEvent) -> dict[str, Any]:
        is_hidden = not can_read(self.person, row)
        values = (
            row.pk,
            row.created_at.isoformat(timespec="milliseconds"),
            row.actor_name,
            row.token_name,
            row.address,
            row.action_name,
            str(row.run_id or ""),
            row.workflow_name,
            HIDDEN if is_hidden and row.reason else row.reason,
            row.status_before,
            row.status_after,
            None if is_hidden else row.before,
            None if is_hidden else row.after,
        )
        return dict(zip(HEAD, values, strict=True))
