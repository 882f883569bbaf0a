"""Rows as the schemas of the API, with the data hidden that the viewer may not read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from workflows.access import permissions
from workflows.api.representations_waits import blocked_by
from workflows.api.schemas import (
    ApprovalOut,
    AttemptOut,
    DecisionOut,
    ForkOut,
    ForkPreviewOut,
    ItemOut,
    LogLineOut,
    PausedWorkflow,
    PreviewStepOut,
    ProgressOut,
    RunDetail,
    RunError,
    RunSummary,
    StageOut,
    VoteOut,
    Waiting,
    WorkflowDetail,
    WorkflowPauseOut,
    WorkflowSummary,
)
from workflows.execution.approval_escalations import escalation_of
from workflows.models import (
    ApprovalStatus,
    Fork,
    ForkKind,
    Level,
    StageKind,
    StageStatus,
    Status,
    WaitKind,
)
from workflows.pages.lists import step_items
from workflows.pages.lists.columns import labels_of
from workflows.pages.redaction import HIDDEN, is_redacted, redact
from workflows.pages.run.related_runs import related_runs
from workflows.pages.visible_rows import visible_runs
from workflows.services import actions, approvals, pauses
from workflows.services.approval_assignments import assignment_of
from workflows.services.approval_claims import claim_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import (
        Approval,
        ApprovalVote,
        Attempt,
        Decision,
        ItemFailure,
        LogLine,
        Run,
        Stage,
        StageItem,
        WorkflowPause,
    )
    from workflows.registry import AnyWorkflow
    from workflows.services.fork_preview import ForkPreview, PreviewStep


def workflow_summaries(
    workflows: Sequence[AnyWorkflow], user: User
) -> list[WorkflowSummary]:
    """Return workflows as in the list."""
    found = {one.workflow_name: one for one in pauses.visible_pauses(user)}
    return [
        WorkflowSummary(**_workflow(one, user, found.get(one.name)))
        for one in workflows
    ]


def workflow_detail(
    workflow: AnyWorkflow, user: User, params: dict[str, Any], profiles: list[str]
) -> WorkflowDetail:
    """Return a workflow with the JSON Schema of its params and its graph."""
    pause = pauses.visible_pauses(user).filter(pk=workflow.name).first()
    return WorkflowDetail(
        **_workflow(workflow, user, pause),
        params=params,
        graph=workflow.drawn,
        profiles=profiles,
    )


def paused_workflows(user: User, size: int | None = None) -> list[PausedWorkflow]:
    """Return the pauses of the workflows that a person may see, by name."""
    found = []
    for pause in pauses.visible_pauses(user)[:size]:
        name = pause.workflow_name
        if not permissions.can_read(user, name):
            redact(pause)
        found.append(PausedWorkflow(workflow=name, **_pause(pause)))
    return found


def _pause(pause: WorkflowPause) -> dict[str, Any]:
    return {
        "at": pause.paused_at,
        "by": pause.paused_by_name,
        "reason": pause.reason,
    }


def _workflow(
    workflow: AnyWorkflow, user: User, pause: WorkflowPause | None
) -> dict[str, Any]:
    if pause is not None and not permissions.can_read(user, workflow.name):
        redact(pause)
    return {
        "name": workflow.name,
        "title": workflow.title,
        "description": workflow.description,
        "fingerprint": workflow.fingerprint,
        "can_launch": permissions.can_launch(user, workflow.name),
        "paused": None if pause is None else WorkflowPauseOut(**_pause(pause)),
        "url": reverse("workflow", args=[workflow.name]),
    }


def run_summaries(runs: Iterable[Run], user: User) -> list[RunSummary]:
    """Return runs as in lists; redact those first whose data the user may not read."""
    found = list(runs)
    parents = visible_parents(found, user)
    return [RunSummary(**_run(run, parents)) for run in found]


def visible_parents(runs: Iterable[Run], user: User) -> frozenset[UUID]:
    """Return the ids of those parents of runs that a user may see."""
    ids = {run.parent_id for run in runs if run.parent_id is not None}
    if not ids:
        return frozenset()
    visible = visible_runs(user).filter(pk__in=ids)
    return frozenset(visible.values_list("pk", flat=True))


def run_detail(run: Run, user: User) -> RunDetail:
    """Return a run with its data; redact it first if the viewer may not read it."""
    hidden = is_redacted(run)
    related = related_runs(run, permissions.permissions_for(user).view)
    return RunDetail(
        **_run(run, visible_parents([run], user)),
        hidden=hidden,
        params=None if hidden else run.params,
        result=None if hidden else run.result,
        cancel_reason=run.cancel_reason or None,
        actions=sorted(actions.offered(run, permissions.permissions_for(user))),
        blocked=blocked_by(run),
        payload_removed_at=run.payload_removed_at,
        continues=_id(related.continues),
        continued_by=_id(related.continued_by),
        launched_by_run=_id(related.launched_by),
        launched_runs=[one.pk for one in related.launched],
        forked_from=None if related.fork is None else related.fork.origin_key,
        fork=_fork(related.fork, hidden=hidden),
        forks=[one.pk for one in related.forks],
    )


def _fork(row: Fork | None, *, hidden: bool) -> ForkOut | None:
    if row is None:
        return None
    return ForkOut(
        kind=ForkKind(row.kind),
        shared_steps=row.kept,
        entry=row.entry,
        change=None if hidden else row.change,
        reason=HIDDEN if hidden and row.reason else row.reason,
        by=row.person_name,
        created_at=row.created_at,
    )


def _id(run: Run | None) -> UUID | None:
    return None if run is None else run.pk


def _run(run: Run, parents: frozenset[UUID]) -> dict[str, Any]:
    is_failed = run.status == Status.FAILED
    is_waiting = run.status == Status.WAITING
    error = RunError(
        code=run.error_code, node=run.error_node, message=run.error_message
    )
    waiting = (
        Waiting(
            kind=WaitKind(run.waiting_for), node=run.waiting_node, until=run.wake_at
        )
        if is_waiting and run.waiting_for
        else None
    )
    return {
        "id": run.pk,
        "workflow": run.workflow_name,
        "title": run.title,
        "status": Status(run.status),
        "version": run.version,
        "steps": run.sequence,
        "attempt": run.attempt,
        "priority": run.priority,
        "profile": run.profile_name,
        "labels": labels_of(run),
        "pinned": run.is_pinned,
        "launched_by": run.launched_by.get_username() if run.launched_by else None,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "updated_at": run.updated_at,
        "completed_at": run.completed_at,
        "waiting": waiting,
        "error": error if is_failed else None,
        "cancel_requested_at": run.cancel_requested_at,
        "deadline_at": run.deadline_at,
        "ends_as": Status(run.closing["status"]) if run.closing else None,
        "steps_to_undo": run.steps_to_undo,
        "steps_undone": run.steps_undone,
        "idempotency_key": None if is_redacted(run) else run.idempotency_key,
        "limit_key": None if is_redacted(run) else run.limit_key,
        "parent": run.parent_id if run.parent_id in parents else None,
        "url": reverse("run", args=[run.pk]),
    }


def stage(row: Stage) -> StageOut:
    """Return a stage."""
    return StageOut(
        sequence=row.sequence,
        kind=StageKind(row.kind),
        undoes=row.undoes,
        branch=row.branch,
        attempt=row.attempt,
        node=row.node_name,
        iteration=row.iteration,
        tries=row.tries,
        status=StageStatus(row.status),
        started_at=row.created_at,
        duration_ms=row.duration_ms,
        items_done=row.items_done,
        items_total=row.items_total,
        progress=progress(row),
        error=row.error_message,
        inherited_from=row.inherited_from,
    )


def item(row: ItemFailure | StageItem, values: Sequence[Any]) -> ItemOut:
    """Return an item of a parallel step, with its value out of those of all items."""
    hidden = is_redacted(row)
    shown = step_items.item_row(row, () if hidden else values)
    value = shown.value if shown.has_value else None
    return ItemOut(
        index=row.index,
        status=StageStatus(shown.status),
        tries=shown.tries,
        duration_ms=shown.duration_ms,
        error_type=shown.error_type or None,
        error=shown.error or None,
        value=json.loads(json.dumps(value)),
        result=None if hidden else shown.result,
        hidden=hidden,
    )


def progress(row: Stage) -> ProgressOut | None:
    """Return what the node in progress reported last."""
    if not (row.progress_amount or row.progress_text):
        return None
    return ProgressOut(
        done=row.progress_done, of=row.progress_of, text=row.progress_text
    )


def decision(row: Decision) -> DecisionOut:
    """Return a decision; redact it first if the viewer may not read its data."""
    return DecisionOut(
        run=row.run_id,
        workflow=row.workflow_name,
        sequence=row.sequence,
        attempt=row.attempt,
        edge_index=row.edge_index,
        from_node=row.from_node,
        to_node=row.to_node,
        predicate=row.predicate_name,
        result=row.predicate_result,
        taken=row.taken,
        reason=row.reason,
        values=None if is_redacted(row) else row.values,
        decided_by=row.decided_by.get_username() if row.decided_by else None,
        comment=row.comment,
        kind=row.kind,
        inherited_from=row.inherited_from,
        created_at=row.created_at,
    )


def log_line(row: LogLine) -> LogLineOut:
    """Return a line of the log."""
    return LogLineOut(
        attempt=row.attempt,
        number=row.number,
        sequence=row.sequence,
        level=Level(row.level),
        message=row.message,
        created_at=row.created_at,
    )


def attempt(row: Attempt) -> AttemptOut:
    """Return an attempt, without its traceback."""
    return AttemptOut(
        number=row.number,
        worker=row.worker,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        error=row.error_message,
        error_code=row.error_code,
    )


def approval(row: Approval, user: User) -> ApprovalOut:
    """Return an approval; redact it first if the viewer may not read its data."""
    hidden = is_redacted(row)
    is_open = row.status == ApprovalStatus.OPEN
    refusal = approvals.refusal(row, user.pk) if is_open else ""
    claim = claim_of(row) if is_open else None
    assignment = assignment_of(row) if is_open else None
    escalation = escalation_of(row)
    return ApprovalOut(
        run=row.run_id,
        workflow=row.run.workflow_name,
        sequence=row.sequence,
        node=row.node_name,
        kind=row.kind,
        status=ApprovalStatus(row.status),
        question=row.question,
        form=None if hidden else row.form,
        evidence=None if hidden else row.evidence,
        initial=None if hidden else row.initial,
        groups=row.groups,
        not_by=row.not_by,
        votes_needed=row.votes_needed,
        veto=None if hidden else row.veto,
        votes=[_vote(vote, hidden=hidden) for vote in approvals.votes_of(row)],
        can_respond=is_open and approvals.may_respond(row, user),
        refusal=refusal,
        created_at=row.created_at,
        expires_at=row.expires_at,
        response=None if hidden else row.response,
        responded_by=row.responded_by.get_username() if row.responded_by else None,
        responded_at=row.responded_at,
        comment=row.comment,
        claimed_by=claim.person_name if claim else None,
        assigned_to=assignment.name if assignment else None,
        claimed_until=claim.expires_at if claim else None,
        escalates_to=escalation.to if escalation else None,
        escalates_at=escalation.due_at if escalation else None,
        escalated_at=escalation.escalated_at if escalation else None,
        withdrawn_reason=row.withdrawn_reason,
    )


def fork_preview(found: ForkPreview) -> ForkPreviewOut:
    """Return the preview of a fork."""
    return ForkPreviewOut(
        shared_steps=found.plan.history.kept,
        starts_at=found.plan.entry,
        kept=[_preview_step(step) for step in found.kept],
        again=[_preview_step(step) for step in found.again],
        new=[_preview_step(step) for step in found.new],
        approvals_again=[step.node for step in found.approvals],
        children_again=[step.node for step in found.children],
    )


def _preview_step(step: PreviewStep) -> PreviewStepOut:
    return PreviewStepOut(
        node=step.node, kind=step.kind, sequence=step.sequence, effects=step.effects
    )


def _vote(row: ApprovalVote, *, hidden: bool) -> VoteOut:
    return VoteOut(
        voter=row.voter_name,
        response=None if hidden else row.response,
        comment=HIDDEN if hidden and row.comment else row.comment,
        created_at=row.created_at,
    )
