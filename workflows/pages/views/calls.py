"""The calls of agents of a run: tokens, cost and time, and what they sent and responded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.agents import call_content
from workflows.models import AgentCall, CallReplay, CallStatus
from workflows.pages.access import members_only
from workflows.pages.lists.pagination import forward_page
from workflows.pages.query_string import int_in, uuid_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.views.runs import readable_run

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.agents.call_content import StoredContent
    from workflows.pages.requests import HtmxRequest

SIZE: Final = 20  # calls on a page, each with its prompt and answer


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call with what it sent and what came back, if that is stored."""

    row: AgentCall
    content: StoredContent | None

    @property
    def status(self) -> str:
        """The outcome for display."""
        return CallStatus(self.row.status).label

    @property
    def replay(self) -> str:
        """What came of the replay; "" in other runs."""
        return CallReplay(self.row.replay).label if self.row.replay else ""


@require_safe
@members_only
@answers_request_errors
def calls(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show the calls of a run, of one step with `?step=`, the oldest first."""
    run = readable_run(request, run_id)
    rows = AgentCall.objects.filter(run=run.pk).select_related("content")
    step = int_in(request.GET, "step")
    if step is not None:
        rows = rows.filter(sequence=step)
    after = uuid_in(request.GET.get("after", ""))
    page = forward_page(rows, after=after, size=SIZE)
    context = {
        "run": run,
        "step": step,
        "calls": [ShownCall(row, _content_of(row)) for row in page.rows],
        "before": after,
        "after": page.after,
        "query": "" if step is None else f"step={step}",
    }
    return render(request, "runs/calls.html", context)


def _content_of(row: AgentCall) -> StoredContent | None:
    stored = getattr(row, "content", None)
    return None if stored is None else call_content.read(stored)
