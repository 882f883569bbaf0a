"""Usage of agents by person, workflow, profile, agent or day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from django.http.response import HttpResponseBase
from ninja import Query, Router, Schema
from pydantic import Field

from workflows.agents.usage import Usage
from workflows.api.exports import DOCUMENTED, FormatQuery, RowExport, respond
from workflows.api.moments import Moment
from workflows.api.requests import ApiRequest, errors
from workflows.services.usage_reports import UsageFilter, UsageReport
from workflows.system import system

router = Router(tags=["agents"])
export_router = Router(tags=["exports"])


class UsageQuery(Schema):
    """What is added up, and by what."""

    by: Literal["person", "workflow", "profile", "agent", "day"] = "person"
    person: str = Field("", max_length=150, description="User name.")
    workflow: str = Field("", max_length=200)
    profile: str | None = Field(
        None, max_length=60, description="Empty: calls without a profile."
    )
    since: Moment | None = Field(None, description="Begun at or after.")
    until: Moment | None = Field(None, description="Begun before.")

    def report(self, request: ApiRequest) -> UsageReport:
        """Return the report that the caller may see."""
        wanted = UsageFilter(**self.model_dump())
        return system.usage_report(wanted, by=request.user)


class UsageTotal(Schema):
    """Totals of some calls."""

    calls: int
    tokens_in: int
    tokens_out: int
    cost: str | None = Field(description="Decimal; null if no call has a price.")
    duration_ms: float
    estimated: int = Field(description="Calls with estimated tokens.")
    unpriced: int = Field(description="Calls without a price.")


class UsageGroup(UsageTotal):
    """The usage of a person, workflow, profile, agent or day."""

    key: str = Field(description="Name of the group; empty for calls without one.")


class UsageOut(Schema):
    """The usage by group, and of all groups together."""

    by: str
    groups: list[UsageGroup]
    total: UsageTotal
    truncated: bool = Field(
        description="Whether groups with little usage are left out."
    )


@router.get("", response={200: UsageOut, **errors(400)})
def get_usage(request: ApiRequest, query: Query[UsageQuery]) -> Any:
    """Get tokens and cost by group: your own, or of everyone if you manage agents.

    Runs count for who launched them; those of a service account for who created it.
    """
    report = query.report(request)
    return UsageOut(
        by=query.by,
        groups=_groups(report),
        total=UsageTotal(**_totals(report.total)),
        truncated=report.is_cut,
    )


@export_router.get("/usage", response=errors(400), openapi_extra=DOCUMENTED)
def export_usage(
    request: ApiRequest, query: Query[UsageQuery], output: Query[FormatQuery]
) -> HttpResponseBase:
    """Export tokens and cost by group."""
    report = query.report(request)

    def chunks() -> Iterator[list[UsageGroup]]:
        yield _groups(report)

    file = RowExport(chunks(), UsageGroup, output.format)
    return respond(request, f"usage-by-{query.by}", output.format, file.parts)


def _groups(report: UsageReport) -> list[UsageGroup]:
    return [UsageGroup(key=row.key, **_totals(row.usage)) for row in report.rows]


def _totals(usage: Usage) -> dict[str, Any]:
    return {
        "calls": usage.calls,
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "cost": None if usage.cost is None else str(usage.cost),
        "duration_ms": round(usage.latency_ms, 1),
        "estimated": usage.estimated,
        "unpriced": usage.unpriced,
    }
