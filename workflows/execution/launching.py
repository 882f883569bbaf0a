"""Creates runs, launched by a person, a program or another run.

A single function makes the row of a run, so that a child run has a graph, a fingerprint
and a profile like any other.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from workflows.agents import profiles
from workflows.agents.run_keys import RunKey
from workflows.audit import seal_rows
from workflows.documents import uses
from workflows.engine.errors import SubworkflowFailed
from workflows.errors import InvalidDeadline
from workflows.execution import run_titles, run_tree
from workflows.models import ChildGroup, Run
from workflows.models.new_rows import new_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.engine import Paused
    from workflows.engine.errors import ChildRuns
    from workflows.registry import AnyWorkflow, Registry

MAX_DEADLINE: Final = dt.timedelta(days=3_650)


def new_run(
    workflow: AnyWorkflow,
    params: Mapping[str, Any],
    *,
    profile: str | None = profiles.NO_PROFILE,
    token: str = "",
    deadline: dt.timedelta | None = None,
    **columns: Any,
) -> Run:
    """Return a pending run that is not inserted yet; `columns` are set unchanged.

    `params` have been checked. `profile` is the name of a profile of the workflow, "" for
    its own settings, None for a choice by weight. `deadline` replaces that of the workflow.
    Raises AgentUnavailable, InvalidParams, InvalidDeadline, LimitKeyInvalid.
    """
    run = new_row(
        Run,
        workflow_name=workflow.name,
        title=run_titles.title_of(workflow, params),
        params=dict(params),
        graph=workflow.drawn,
        fingerprint=workflow.fingerprint,
        has_closing=workflow.has_closing,
        secrets=RunKey.entered(token).encrypted(),
        **columns,
    )
    if workflow.limits is not None:
        typed = workflow.params_of(run.params)
        run.limit_key = workflow.limits.key_of(workflow.name, typed)
    run.deadline_at = _deadline_of(workflow, run.created_at, deadline)
    run.profile_name, run.profile_stages = profiles.choose(workflow, profile, run.pk)
    profiles.check_agents(workflow, run.profile_stages, run.params)
    return run


def _deadline_of(
    workflow: AnyWorkflow, launched_at: dt.datetime, given: dt.timedelta | None
) -> dt.datetime | None:
    deadline = workflow.deadline if given is None else given
    if deadline is None:
        return None
    if not dt.timedelta(0) < deadline <= MAX_DEADLINE:
        raise InvalidDeadline(MAX_DEADLINE.days)
    return launched_at + deadline


def new_child(
    run: Run, paused: Paused, workflows: Registry, traceparent: str
) -> Run | None:
    """Return a child run for this step to wait for, None if the step has one.

    It gets neither the token nor the profile of its parent. `traceparent` is that of the
    step, "" if tracing is off. Raises WorkflowNotFound,
    AgentUnavailable, and SubworkflowFailed at the limit of depth.
    """
    if run_tree.child_at(run, paused.sequence) is not None:
        return None
    check_depth(run, paused.workflow)
    return new_run(
        workflows.get(paused.workflow),
        paused.params or {},
        launched_by_id=run.launched_by_id,
        parent_id=run.pk,
        parent_sequence=paused.sequence,
        priority=run.priority,
        scheduled_for=run.scheduled_for,
        traceparent=traceparent or run.traceparent,
    )


def check_depth(run: Run, workflow: str) -> None:
    """Raise SubworkflowFailed if a run may have no children: it is at the limit of depth."""
    limit = settings.MAX_SUBWORKFLOW_DEPTH
    if run_tree.depth_of(run.pk, limit) >= limit:
        raise SubworkflowFailed(
            f"The workflow “{workflow}” was not launched: this run is"
            f" {limit} levels below the run that was launched, the maximum"
            " (MAX_SUBWORKFLOW_DEPTH). Check for a workflow that launches itself."
        )


def new_group(
    run: Run, paused: Paused, runs: ChildRuns, workflows: Registry, traceparent: str
) -> ChildGroup:
    """Return the row for the child runs of a step, not inserted.

    The first of them is made, to check that they can be: raises the errors of `new_child`.
    """
    check_depth(run, paused.workflow)
    new_run(workflows.get(paused.workflow), runs.params[0])
    return ChildGroup(
        parent_id=run.pk,
        sequence=paused.sequence,
        workflow_name=paused.workflow,
        total=len(runs.params),
        limit=runs.limit,
        need=runs.need,
        fail_fast=runs.fail_fast,
        traceparent=traceparent,
    )


def insert_child(child: Run) -> None:
    """Insert a child in the transaction of its parent's pause, once per step.

    That transaction locks the parent's row, so that no other can do the same.
    """
    if Run.objects.filter(
        parent=child.parent_id, parent_sequence=child.parent_sequence
    ).exists():
        return
    seal_rows.begin(child)
    child.save(force_insert=True)
    uses.note(child.workflow_name, child.params)
