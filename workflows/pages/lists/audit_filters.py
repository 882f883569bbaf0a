"""Which deeds the audit shows: the filters of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Q

from workflows.access import permissions
from workflows.audit import trail
from workflows.models.datetimes import audit_events_between
from workflows.pages.lists.filters import Filters, text_in
from workflows.pages.lists.pagination import Page, page_of
from workflows.pages.lists.period import ANY_TIME, Period
from workflows.pages.lists.run_filters import id_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import AuditEvent


@dataclass(frozen=True, slots=True)
class AuditFilters(Filters):
    """Which deeds are shown."""

    workflow: str = ""
    who: str = ""  # the name as it was
    action: str = ""
    run: UUID | None = None
    address: str = ""
    period: Period = ANY_TIME
    text: str = ""  # in the reason

    @classmethod
    def read(cls, query: Mapping[str, str]) -> AuditFilters:
        """Take what a query says; what means nothing is left out."""
        return cls(
            workflow=text_in(query, "workflow"),
            who=text_in(query, "who"),
            action=text_in(query, "action"),
            run=id_in(text_in(query, "run")),
            address=text_in(query, "address"),
            period=Period.read(query),
            text=text_in(query, "text"),
        )

    @property
    def query(self) -> dict[str, str]:
        """Return what is set, as an address tells it."""
        told = {
            "workflow": self.workflow,
            "who": self.who,
            "action": self.action,
            "run": str(self.run or ""),
            "address": self.address,
            **self.period.query,
            "text": self.text,
        }
        return {name: value for name, value in told.items() if value}

    @property
    def is_rare(self) -> bool:
        """Tell whether one of the less usual filters is set."""
        days = self.period.first or self.period.last
        return bool(self.run or self.address or self.text or days)

    def page(self, person: User, before: int | None) -> Page[AuditEvent]:
        """Return one page of the deeds that match, newest first."""
        return page_of(self._rows(person), self._condition(person), before=before)

    def _rows(self, person: User) -> QuerySet[AuditEvent]:
        rows = audit_events_between(self.period.since, self.period.until)
        rows = permissions.visible(person, rows)
        given = {
            "workflow_name": self.workflow,
            "actor_name": self.who,
            "action": self.action,
            "run_id": self.run,
        }
        return rows.filter(**{name: value for name, value in given.items() if value})

    def _condition(self, person: User) -> Q:
        """Return what no index answers: a text in reasons, of those that may be read."""
        found = Q()
        if self.address:
            found &= Q(address=self.address)
        if self.text:
            found &= Q(reason__icontains=self.text) & _readable(person)
        return found


def may_read(person: User, deed: AuditEvent) -> bool:
    """Tell whether a deed's words are for a person: those on documents name them.

    A document is as open as the runs it was given to, of any workflow, also later.
    """
    read = permissions.permissions_for(person).read
    if deed.action in trail.ON_DOCUMENTS:
        return read.are_all
    return deed.workflow_name in read


def _readable(person: User) -> Q:
    """Return `may_read` as a condition."""
    read = permissions.permissions_for(person).read
    on_documents = Q(action__in=trail.ON_DOCUMENTS)
    return Q() if read.are_all else read.q() & ~on_documents
