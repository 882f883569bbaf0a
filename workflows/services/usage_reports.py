"""Usage of agents by person, workflow, profile or day: what a page, the API and exports show.

A person sees their own usage; people who may manage agents see that of everyone. Both see
only workflows that they may see, and calls that they tried themselves.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q
from django.db.models.functions import TruncDate
from django.utils import timezone

from workflows.access import permissions
from workflows.agents import usage
from workflows.errors import InvalidParams
from workflows.models import AgentCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import QuerySet

    from workflows.agents.usage import Usage

COLUMNS: Final[Mapping[str, str]] = {
    "person": "person__username",
    "workflow": "workflow_name",
    "profile": "run__profile_name",
    "agent": "agent_name",
    "day": "day",
}
MAX_ROWS: Final = 500  # groups of one report, those that use most
NONE: Final[Mapping[str, str]] = {
    "person": "no person",
    "workflow": "trial of an agent",
    "profile": "no profile",
}


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which calls a report adds up, and by what."""

    by: str = "person"
    person: str = ""  # user name
    workflow: str = ""
    profile: str | None = None  # "" = calls without one
    since: dt.datetime | None = None  # begun at or after
    until: dt.datetime | None = None  # begun before


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one person, workflow, profile, agent or day."""

    by: str
    key: str  # "" for calls without one
    usage: Usage

    @property
    def label(self) -> str:
        """The key for display."""
        return self.key or NONE.get(self.by, "none")


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The usage by group, the largest first, and the total of all groups."""

    rows: list[UsageRow]
    total: Usage
    is_cut: bool = False  # there are more groups than MAX_ROWS


def report(wanted: UsageFilter, *, by: AbstractBaseUser | None) -> UsageReport:
    """Return the usage that a person may see, None: all of it.

    Raises InvalidParams for an unknown `by`.
    """
    if wanted.by not in COLUMNS:
        raise InvalidParams({"by": [f"Choose from: {', '.join(COLUMNS)}."]})
    calls = _matching(wanted, by)
    if wanted.by == "day":
        calls = calls.annotate(day=TruncDate("created_at", tzinfo=_zone()))
    groups = usage.by(calls, COLUMNS[wanted.by])
    rows = [UsageRow(wanted.by, _text(key), one) for key, one in groups.items()]
    if wanted.by == "day":
        rows.sort(key=lambda row: row.key, reverse=True)
    else:
        rows.sort(key=lambda row: (-(row.usage.cost or 0), -row.usage.tokens, row.key))
    return UsageReport(rows[:MAX_ROWS], usage.of(calls), len(rows) > MAX_ROWS)


def sees_everyone(user: AbstractBaseUser) -> bool:
    """Return whether a person sees the usage of others."""
    return permissions.can_manage_agents(user)


def _zone() -> dt.tzinfo:
    return timezone.get_default_timezone()


def _text(key: Any) -> str:
    return "" if key is None else str(key)


def _matching(wanted: UsageFilter, by: AbstractBaseUser | None) -> QuerySet[AgentCall]:
    rows = AgentCall.objects.order_by()
    if by is not None:
        seen = permissions.permissions_for(by).view.q("workflow_name")
        rows = rows.filter(seen | Q(workflow_name=""))
        if not sees_everyone(by):
            rows = rows.filter(person=by.pk)
    if wanted.person:
        rows = rows.filter(person__username=wanted.person)
    if wanted.workflow:
        rows = rows.filter(workflow_name=wanted.workflow)
    if wanted.profile is not None:
        rows = rows.filter(run__isnull=False, run__profile_name=wanted.profile)
    if wanted.since:
        rows = rows.filter(created_at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(created_at__lt=wanted.until)
    return rows
