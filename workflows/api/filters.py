"""Query parameters that select rows, as the filters of the corresponding pages."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from django.contrib.auth.models import User
from ninja import Schema
from pydantic import Field

from workflows.api.moments import Moment
from workflows.api.schemas import Input
from workflows.errors import InvalidParams, NotAllowed
from workflows.models import Status
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists.audit_filters import AuditFilters
from workflows.pages.lists.decision_filters import DecisionFilters
from workflows.pages.lists.run_filters import RunFilters

Span = Literal["", "1h", "24h", "7d", "30d", "90d"]
MAX_TEXT = 500  # characters of a condition


class RunSelection(Input):
    """Filters of runs, as on their page."""

    workflow: str = ""
    status: Status | None = None
    launched_by: str = Field("", description="User name.")
    label: str = ""
    when: Span = Field("", description="Launched within this time.")
    where: str = Field(
        "",
        max_length=MAX_TEXT,
        description="Conditions on params and result, such as “params.limit > 3”.",
    )
    title: str = Field("", max_length=200, description="A part of the title.")
    text: str = Field("", max_length=200, description="Text in the error message.")
    q: str = Field(
        "",
        max_length=MAX_TEXT,
        description="An expression, such as “status = failed and (title ~ invoice or"
        " params.amount > 1000)”; or a text in id, title, labels or error.",
    )

    def filters(self, by: User) -> RunFilters:
        """Return the filters of the page. Raises InvalidParams, NotAllowed."""
        filters = RunFilters.read(
            {
                "workflow": self.workflow,
                "status": self.status.value if self.status else "",
                "who": self.launched_by,
                "label": self.label,
                "when": self.when,
                "where": self.where,
                "title": self.title,
                "text": self.text,
                "q": self.q,
            }
        )
        if filters.error:
            raise InvalidParams({"where": [filters.error]})
        if filters.q_error:
            raise InvalidParams({"q": [filters.q_error]})
        if refusal := filters.refusal(by):
            raise NotAllowed(refusal)
        return filters


class RunQuery(RunSelection):
    """Filters of runs, also by the time of their launch."""

    since: Moment | None = Field(None, description="Launched at or after.")
    until: Moment | None = Field(None, description="Launched before.")

    def between(self, runs: Any) -> Any:
        """Return the runs of a query set that were launched in the time given."""
        return in_time(runs, self.since, self.until)


def _id_at(field: str, moment: dt.datetime) -> UUID:
    """Return the smallest id of runs launched at a time. Raises InvalidParams."""
    try:
        return run_id_at(moment)
    except (OverflowError, ValueError) as error:
        raise InvalidParams({field: ["Choose a time since 1970."]}) from error


class DecisionQuery(Schema):
    """Filters of decisions, as on their page."""

    workflow: str = ""
    edge: str = Field("", description="“from→to”.")
    predicate: str = ""
    taken: bool | None = None
    decided_by: str = Field("", description="User name.")
    when: Span = Field("", description="Decided within this time.")
    where: str = Field(
        "", max_length=MAX_TEXT, description="Conditions on the values read."
    )

    def filters(self) -> DecisionFilters:
        """Return the filters of the page. Raises InvalidParams."""
        filters = DecisionFilters.read(
            {
                "workflow": self.workflow,
                "edge": self.edge,
                "predicate": self.predicate,
                "outcome": {True: "taken", False: "rejected", None: ""}[self.taken],
                "who": self.decided_by,
                "when": self.when,
                "where": self.where,
            }
        )
        if filters.error:
            raise InvalidParams({"where": [filters.error]})
        return filters


class AuditQuery(Schema):
    """Filters of the audit log, as on its page."""

    workflow: str = ""
    actor: str = Field("", description="User name at the time of the event.")
    action: str = Field("", description="Such as “cancel” or “respond”.")
    run: UUID | None = None
    address: str = Field("", description="Client address.")
    when: Span = Field("", description="Within this time.")
    text: str = Field("", max_length=200, description="Text in the reason.")

    def filters(self) -> AuditFilters:
        """Return the filters of the page."""
        return AuditFilters.read(
            {
                "workflow": self.workflow,
                "who": self.actor,
                "action": self.action,
                "run": str(self.run or ""),
                "address": self.address,
                "when": self.when,
                "text": self.text,
            }
        )


class HistoryQuery(Schema):
    """Filters of agent calls."""

    workflow: str = ""
    run: UUID | None = None
    since: Moment | None = Field(None, description="Begun at or after.")
    until: Moment | None = Field(None, description="Begun before.")
    content: bool = Field(False, description="With stored prompts and answers.")

    def between(self, rows: Any) -> Any:
        """Return the rows of a query set that match. Raises InvalidParams."""
        if self.workflow:
            rows = rows.filter(workflow_name=self.workflow)
        if self.run is not None:
            rows = rows.filter(run=self.run)
        return in_time(rows, self.since, self.until)


def in_time(rows: Any, since: dt.datetime | None, until: dt.datetime | None) -> Any:
    """Return the rows whose ids are of a time. Raises InvalidParams."""
    if since is not None:
        rows = rows.filter(pk__gte=_id_at("since", since))
    if until is not None:
        rows = rows.filter(pk__lt=_id_at("until", until))
    return rows
