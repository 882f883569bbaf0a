"""Filters of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Q

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.models.id_ranges import audit_events_between
from workflows.models.operations import current_action, stored_actions
from workflows.pages.lists.filters import Filters, without_empty
from workflows.pages.lists.pagination import Page, keyset_page
from workflows.pages.lists.period import ANY_TIME, Period
from workflows.pages.query_string import text_in, uuid_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import AuditEvent


@dataclass(frozen=True, slots=True)
class AuditFilters(Filters):
    """Conditions on audit events."""

    workflow: str = ""
    who: str = ""  # user name at the time of the event
    action: str = ""
    run: UUID | None = None
    address: str = ""
    period: Period = ANY_TIME
    text: str = ""  # in the reason

    @classmethod
    def read(cls, query: Mapping[str, str]) -> AuditFilters:
        """Read the filters of a query, ignoring invalid values."""
        return cls(
            workflow=text_in(query, "workflow"),
            who=text_in(query, "who"),
            action=current_action(text_in(query, "action")),
            run=uuid_in(text_in(query, "run")),
            address=text_in(query, "address"),
            period=Period.read(query),
            text=text_in(query, "text"),
        )

    @property
    def query(self) -> dict[str, str]:
        """Return the filters that are set, as fields of a query string."""
        fields = {
            "workflow": self.workflow,
            "who": self.who,
            "action": self.action,
            "run": str(self.run or ""),
            "address": self.address,
            **self.period.query,
            "text": self.text,
        }
        return without_empty(fields)

    @property
    def is_rare(self) -> bool:
        """Return whether one of the filters under “More filters” is set."""
        days = self.period.first or self.period.last
        return bool(self.run or self.address or self.text or days)

    def page(
        self, person: User, before: int | None, *, size: int | None = None
    ) -> Page[AuditEvent]:
        """Return a page of the matching events, newest first."""
        rows, condition = self.rows(person), self.condition(person)
        return keyset_page(rows, condition, before=before, size=size)

    def rows(self, person: User) -> QuerySet[AuditEvent]:
        """Return the events that match the filters which an index covers."""
        rows = audit_events_between(self.period.since, self.period.until)
        rows = permissions.visible(person, rows)
        fields = {
            "workflow_name": self.workflow,
            "actor_name": self.who,
            "action__in": self.action and stored_actions(self.action),
            "run_id": self.run,
        }
        return rows.filter(**{name: value for name, value in fields.items() if value})

    def condition(self, person: User) -> Q:
        """Return the condition that no index covers: address, and text in reasons."""
        condition = Q()
        if self.address:
            condition &= Q(address=self.address)
        if self.text:
            condition &= Q(reason__icontains=self.text) & _readable(person)
        return condition


def can_read(person: User, event: AuditEvent) -> bool:
    """Return whether a user may view the reason and values of an event.

    Events on documents contain their names, and a document is visible to those who may
    view the data of any run it is ever given to: so they need the data of all workflows.
    """
    read = permissions.permissions_for(person).read
    if event.action in audit_events.ON_DOCUMENTS:
        return read.are_all
    return event.workflow_name in read


def _readable(person: User) -> Q:
    """Return `can_read` as a condition."""
    read = permissions.permissions_for(person).read
    on_documents = Q(action__in=audit_events.ON_DOCUMENTS)
    return Q() if read.are_all else read.q() & ~on_documents
