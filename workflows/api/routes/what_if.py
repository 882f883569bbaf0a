"""What-if reports: recorded decisions of a workflow with other thresholds."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from pydantic import Field, StringConstraints

from workflows.api.moments import Moment
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import NO_NUL
from workflows.api.schemas_what_if import (
    ElsewhereOut,
    ThresholdOut,
    WhatIfPart,
    WhatIfRunOut,
)
from workflows.engine.thresholds import Threshold
from workflows.errors import InvalidParams
from workflows.pages.lists.what_if import PART, next_part
from workflows.services.what_if import Finding
from workflows.system import system

router = Router(tags=["what-if"])
MAX_SETTINGS = 50
Setting = Annotated[str, StringConstraints(max_length=600, pattern=NO_NUL)]


class WhatIfQuery(Paging):
    """Which runs are evaluated, and with what."""

    since: Moment | None = Field(None, description="Launched then or later.")
    until: Moment | None = Field(None, description="Launched before.")
    set: list[Setting] = Field(
        default_factory=list,
        max_length=MAX_SETTINGS,
        description="Other values of thresholds: `NAME=VALUE`, repeatable.",
    )

    @property
    def settings(self) -> dict[str, str]:
        """The values by name. Raises InvalidParams."""
        found = {}
        for one in self.set:
            name, separator, text = one.partition("=")
            if not separator:
                raise InvalidParams({"set": [f"“{one}”: give NAME=VALUE."]})
            found[name.strip()] = text.strip()
        return found


@router.get(
    "/{name}/thresholds",
    response={200: list[ThresholdOut], **errors(403, 404, 409)},
)
def list_thresholds(request: ApiRequest, name: str) -> Any:
    """List what a what-if report of a workflow can replace."""
    return [_threshold(one) for one in system.list_thresholds(name, by=request.user)]


@router.get("/{name}/what-if", response={200: WhatIfPart, **errors(400, 403, 404, 409)})
def get_what_if(
    request: ApiRequest, response: HttpResponse, name: str, query: Query[WhatIfQuery]
) -> Any:
    """Evaluate recorded decisions with other thresholds; nothing is executed or changed.

    The newest runs first, for about a second and a half, or until `limit` runs are listed: add up
    the counts of the parts.
    """
    report = system.what_if(
        name,
        query.settings,
        by=request.user,
        since=_utc(query.since),
        until=_utc(query.until),
        older_than=query.after_id,
        limits=PART,
    )
    found, older = next_part(report, lambda _: True, query.limit)
    counts = report.report
    return WhatIfPart(
        runs=counts.runs,
        runs_elsewhere=counts.runs_elsewhere,
        runs_failed=counts.runs_failed,
        decisions=counts.decisions,
        unconditional=counts.unconditional,
        edges=[
            ElsewhereOut(node=node, recorded=recorded, today=today, runs=number)
            for (node, recorded, today), number in counts.elsewhere.most_common()
        ],
        not_evaluated={str(why): number for why, number in counts.skipped.items()},
        items=[_run(one) for one in found],
        next=link_next(request, response, older),
    )


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.astimezone(dt.UTC)


def _threshold(one: Threshold) -> ThresholdOut:
    value = None if one.value is None else str(one.value)
    return ThresholdOut(name=one.name, value=value, is_param=one.is_param)


def _run(one: Finding) -> WhatIfRunOut:
    return WhatIfRunOut(
        run=one.run_id,
        sequence=one.sequence,
        node=one.node,
        recorded=one.recorded,
        today=one.today or None,
        reason=one.reason,
        url=f"{reverse('run', args=[one.run_id])}?at={one.sequence}",
    )
