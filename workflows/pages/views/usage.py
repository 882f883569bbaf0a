"""Usage of agents by person, workflow, profile, agent or day, as a page and as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from workflows.pages.access import members_only
from workflows.pages.lists.export import KINDS, csv_cell, csv_lines, file_parts
from workflows.pages.lists.period import CHOICES, Period
from workflows.pages.query_string import text_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.streaming import streamed
from workflows.services.usage_reports import (
    COLUMNS,
    UsageFilter,
    UsageReport,
    sees_everyone,
)
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.http.response import HttpResponseBase

    from workflows.pages.requests import HtmxRequest
    from workflows.services.usage_reports import UsageRow

DEFAULT_SPAN: Final = "30d"
MAX_PEOPLE: Final = 200  # offered by the filter
FIELDS: Final = ("calls", "tokens_in", "tokens_out", "cost", "agent_ms")


@require_safe
@members_only
@answers_request_errors
def usage(request: HtmxRequest) -> HttpResponse:
    """Show who used how many tokens, at which cost, in a period."""
    wanted, period = _wanted(request)
    everyone = sees_everyone(request.user)
    people = User.objects.filter(is_active=True).order_by("username")
    query = {
        "by": wanted.by,
        "who": wanted.person,
        "workflow": wanted.workflow,
        "profile": wanted.profile or "",
        **period.query,
    }
    context = {
        "report": system.usage_report(wanted, by=request.user),
        "wanted": wanted,
        "period": period,
        "spans": CHOICES,
        "groups": list(COLUMNS),
        "everyone": everyone,
        "people": people[:MAX_PEOPLE] if everyone else [],
        "workflows": system.list_workflows(by=request.user),
        "query": urlencode({name: value for name, value in query.items() if value}),
    }
    return render(request, "agents/usage.html", context)


@require_safe
@members_only
@answers_request_errors
def usage_file(request: HtmxRequest) -> HttpResponseBase:
    """Return the same rows as CSV."""
    wanted, _ = _wanted(request)
    report = system.usage_report(wanted, by=request.user)
    response = streamed(
        request,
        lambda: csv_of(report, wanted.by),
        name=f"usage-by-{wanted.by}-{timezone.now():%Y-%m-%d-%H%M}-UTC.csv",
        content_type=KINDS["csv"],
    )
    response["Cache-Control"] = "no-store"
    return response


def csv_of(report: UsageReport, by: str) -> Iterator[str]:
    """Yield the parts of a report as CSV."""
    return file_parts("csv", [by, *FIELDS], map(_line, report.rows))


def _line(row: UsageRow) -> str:
    columns = row.usage.columns()
    values = [columns["agent_calls"], *(columns[name] for name in FIELDS[1:])]
    return csv_lines([[csv_cell(one) for one in (row.key, *values)]])


def _wanted(request: HtmxRequest) -> tuple[UsageFilter, Period]:
    """Return what to add up; of unknown values those that are shown by default."""
    query: dict[str, Any] = request.GET.dict()
    period = Period.read(query)
    if not period.is_any:
        period = Period(span=DEFAULT_SPAN)
    by = text_in(request.GET, "by")
    wanted = UsageFilter(
        by=by if by in COLUMNS else "person",
        person=text_in(request.GET, "who"),
        workflow=text_in(request.GET, "workflow"),
        profile=text_in(request.GET, "profile") or None,
        since=period.since,
        until=period.until,
    )
    return wanted, period
