"""How runs relate: children, the tree of a run, comparisons; and their agent calls."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from workflows.api import representations, representations_operations
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors, visible_run
from workflows.api.schemas import RunPage
from workflows.api.schemas_operations import (
    CallPage,
    ComparedNode,
    ComparisonOut,
    Difference,
    RunTree,
    TreeRun,
)
from workflows.models import AgentCall, Run, Status
from workflows.pages.lists.live_lists import list_visible_runs, redacted_for
from workflows.pages.lists.pagination import forward_page
from workflows.pages.redaction import redact_rows
from workflows.pages.run.compare import Comparison
from workflows.pages.visible_rows import visible_runs

router = Router(tags=["runs"])
compare_router = Router(tags=["runs"])
MAX_TREE = 500  # runs of a tree in one response
MAX_CONTENTS = 20  # calls with prompts and answers in one response
MAX_ABOVE = 100  # runs above a run; deeper than any tree within the depth limit


@router.get("/{uuid:run_id}/children", response={200: RunPage, **errors(400, 404)})
def list_children(
    request: ApiRequest, response: HttpResponse, run_id: UUID, paging: Query[Paging]
) -> Any:
    """List the runs that the steps of a run launched and that you may see, oldest first."""
    visible_run(request, run_id)
    rows = list_visible_runs(request.user).filter(parent=run_id)
    rows = rows.prefetch_related("labels")
    page = forward_page(rows, after=paging.after_id, size=paging.limit)
    found = redacted_for(request.user, page.rows)
    return {
        "items": representations.run_summaries(found, request.user),
        "next": link_next(request, response, page.after),
    }


@router.get("/{uuid:run_id}/tree", response={200: RunTree, **errors(404)})
def get_tree(request: ApiRequest, run_id: UUID) -> Any:
    """Get the runs above and below a run, level by level from the topmost one.

    A run that you may not see hides those on its other side.
    """
    runs = visible_runs(request.user).only(
        *("id", "parent_id", "parent_sequence", "workflow_name", "status"),
        *("created_at", "completed_at"),
    )
    root = visible_run(request, run_id)
    for _ in range(MAX_ABOVE):
        above = runs.filter(pk=root.parent_id).first() if root.parent_id else None
        if above is None:
            break
        root = above
    found = [_tree_run(root, None, 0)]
    level = [root.pk]
    while level and len(found) <= MAX_TREE:
        depth = found[-1].depth + 1
        below = runs.filter(parent__in=level).order_by("pk")
        rows = list(below[: MAX_TREE + 1 - len(found)])
        found += [_tree_run(row, row.parent_id, depth) for row in rows]
        level = [row.pk for row in rows]
    return RunTree(root=root.pk, runs=found[:MAX_TREE], truncated=len(found) > MAX_TREE)


def _tree_run(run: Run, parent: UUID | None, depth: int) -> TreeRun:
    return TreeRun(
        id=run.pk,
        parent=parent,
        parent_step=run.parent_sequence if parent is not None else None,
        depth=depth,
        workflow=run.workflow_name,
        status=Status(run.status),
        created_at=run.created_at,
        completed_at=run.completed_at,
    )


class ContentQuery(Schema):
    """Whether prompts and answers are included."""

    content: bool = Field(False, description="With stored prompts and answers.")


@router.get(
    "/{uuid:run_id}/calls",
    response={200: CallPage, **errors(400, 404)},
    tags=["history"],
)
def list_calls(
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    paging: Query[Paging],
    query: Query[ContentQuery],
) -> Any:
    """List the calls of agents of a run with tokens, cost and time, oldest first.

    With `content=true`, at most 20 at once.
    """
    run = visible_run(request, run_id)
    rows = AgentCall.objects.filter(run=run_id)
    limit = paging.limit
    if query.content:
        rows, limit = rows.select_related("content"), min(limit, MAX_CONTENTS)
    page = forward_page(rows, after=paging.after_id, size=limit)
    return {
        "items": [
            representations_operations.call(row, content=query.content)
            for row in redact_rows(run, page.rows)
        ],
        "next": link_next(request, response, page.after),
    }


class CompareQuery(Schema):
    """Two runs."""

    a: UUID
    b: UUID


@compare_router.get("", response={200: ComparisonOut, **errors(404)})
def compare_runs(request: ApiRequest, query: Query[CompareQuery]) -> Any:
    """Compare the paths and durations of two runs."""
    both = Comparison(visible_run(request, query.a), visible_run(request, query.b))
    divergence = both.divergence
    return ComparisonOut(
        a=query.a,
        b=query.b,
        same_workflow=both.is_one_workflow,
        same_graph=both.is_one_graph,
        first_difference=Difference(
            common_steps=divergence.place,
            description=divergence.title,
            node=divergence.node,
        ),
        nodes=[
            ComparedNode(
                node=one.node,
                duration_ms_a=one.first,
                duration_ms_b=one.second,
                executions_a=one.step_count[0],
                executions_b=one.step_count[1],
            )
            for one in both.durations
        ],
    )
