"""Fork a run: a new run that shares its history up to a step, with a change.

One operation serves three purposes: a step runs again, with the state as it was or edited; an
edge is taken that was not; an approval has another response. The new run is committed with all
rows that it shares, so that no half-made one is ever visible. `fork_plans.py` has the checks.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from workflows.audit import audit_events, keys, seal_rows, seals
from workflows.audit.fork_verification import sealed_values
from workflows.audit.row_adapters import decision_row, stage_row
from workflows.documents import uses
from workflows.engine.frozen import freeze
from workflows.engine.json_patch import diff
from workflows.errors import InvalidStatus, KeyReused
from workflows.execution import checkpoints, launching, limited_launches, sql
from workflows.execution.fork_rows import copy_items, copy_rows
from workflows.infra import notifications, tracing
from workflows.models import (
    EDIT_NODE,
    ENDED,
    Approval,
    ApprovalStatus,
    Checkpoint,
    Decision,
    DecisionKind,
    Fork,
    ForkKind,
    Run,
    Stage,
    StageKind,
    StageStatus,
    Status,
)

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.engine.graph_shape import EdgeShape
    from workflows.services.fork_plans import ForkPlan

ACTIONS: Final = {  # of the audit event of the origin
    ForkKind.RERUN: "rerun",
    ForkKind.OVERRIDE: "override decision",
    ForkKind.RESPONSE: "change response",
}


def find_made(planned: ForkPlan, idempotency_key: str | None) -> Run | None:
    """Return the fork that has this idempotency key. Raises KeyReused for another run."""
    if idempotency_key is None:
        return None
    origin = planned.origin
    run = Run.objects.filter(
        workflow_name=origin.workflow_name, idempotency_key=idempotency_key
    ).first()
    if run is None:
        return None
    fork = Fork.objects.filter(run=run).first()
    wanted = origin.pk, planned.request.kind, planned.history.kept, planned.change
    made = fork and (fork.origin_key, fork.kind, fork.kept, fork.change)
    if made != wanted:
        raise KeyReused(run)
    run.already_launched = True
    return run


def make(
    planned: ForkPlan,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    token: str = "",
    idempotency_key: str | None = None,
) -> Run:
    """Insert a fork with the rows that it shares, its change, and the audit events of both runs.

    Raises InvalidStatus if the origin was resumed since it was checked, HistoryChanged,
    LimitReached, AgentUnavailable, InvalidDeadline, KeyReused.
    """
    origin, limits = planned.origin, planned.workflow.limits
    run = _new_run(planned, by, token, idempotency_key)
    with transaction.atomic():
        locked = Run.objects.select_for_update().filter(pk=origin.pk).first()
        if locked is None or locked.status not in ENDED:
            raise InvalidStatus(locked or origin, wanted="rerun from a step")
        if made := find_made(planned, idempotency_key):
            return made
        if limits is not None:
            sql.driver().lock_limit_key(f"{run.workflow_name} {run.limit_key}")
            limited_launches.make_room(limits, run)
        _insert(planned, run, by=by, reason=reason)
    return run


def _new_run(
    planned: ForkPlan,
    by: AbstractBaseUser | None,
    token: str,
    idempotency_key: str | None,
) -> Run:
    """Return the run of a fork, not inserted: at the end of the shared history, pending.

    It has the graph of its origin, under which the shared steps were executed.
    """
    origin = planned.origin
    run = launching.new_run(
        planned.workflow,
        planned.params,
        profile=origin.profile_name,
        token=token,
        deadline=origin.deadline,
        launched_by_id=by.pk if by else None,
        priority=origin.priority,
        idempotency_key=idempotency_key,
        scheduled_for=origin.scheduled_for,
        traceparent=tracing.traceparent(),
    )
    run.graph, run.fingerprint = origin.graph, origin.fingerprint
    run.has_closing = origin.has_closing
    run.forked_from = origin
    run.sequence, run.attempt = planned.enters_after, planned.history.attempt
    return run


def _insert(
    planned: ForkPlan, run: Run, *, by: AbstractBaseUser | None, reason: str
) -> None:
    """Insert the run and everything that belongs to it, in the transaction of `make`."""
    origin = planned.origin
    seal_rows.begin(run)
    origin_head, run.history_chain_head = copy_rows(planned.history, run)
    if planned.request.item is not None:
        copy_items(origin, planned.request.step, run, without=planned.request.item)
    if planned.state is not None:
        _insert_edit(planned, run)
    if planned.edge is not None:
        _insert_override(planned.edge, planned, run, by=by, reason=reason)
    record(
        run,
        origin,
        Fork(
            run=run,
            origin_key=origin.pk,
            kind=planned.request.kind,
            kept=planned.history.kept,
            attempt=planned.history.attempt,
            entry=planned.entry,
            enters_after=planned.enters_after,
            change=planned.change,
            reason=reason,
        ),
        by=by,
        head=origin_head,
    )
    if planned.approval is not None:
        _insert_response(planned.approval, planned, run, by=by, reason=reason)
    uses.note(run.workflow_name, run.params)
    notifications.launched_on_commit()
    notifications.changed_on_commit(origin.pk, run.pk)


def record(
    run: Run, origin: Run, fork: Fork, *, by: AbstractBaseUser | None, head: bytes
) -> None:
    """Insert the row of a new run, how it was forked, and the audit events of both runs.

    The first event of the fork seals where it comes from: the origin, the head of its chain
    after the last shared row, and the digest of the change.
    """
    event = audit_events.entry(
        run,
        "fork",
        by=by,
        reason=fork.reason,
        after=Status.PENDING,
        changed=({}, sealed_values(fork, head)),
    )
    seal_rows.seal_first(run, event)
    run.save(force_insert=True)
    event.save(force_insert=True)
    fork.person_id, fork.person_name = (by.pk if by else None), event.actor_name
    fork.save(force_insert=True)
    action = ACTIONS[ForkKind(fork.kind)]
    _note_on_origin(run, origin, action, fork.step, by=by, reason=fork.reason)


def _note_on_origin(  # noqa: PLR0913 - of an audit event
    run: Run,
    origin: Run,
    action: str,
    step: int,
    *,
    by: AbstractBaseUser | None,
    reason: str,
) -> None:
    """Append the audit event of the origin, whose page then links the new run."""
    audit_events.record(
        origin,
        action,
        by=by,
        reason=reason,
        after=origin.status,
        changed=({}, {"run": str(run.pk), "step": step}),
    )
    Run.objects.filter(pk=origin.pk).update(version=F("version") + 1)


def _insert_edit(planned: ForkPlan, run: Run) -> None:
    """Insert the step that edits the state: a stage of its own kind, and a checkpoint."""
    before, after = freeze(planned.before), freeze(planned.state)
    patch, whole = (
        checkpoints.dumps_patch(diff(before, after)),
        checkpoints.dumps(after),
    )
    is_patch = len(patch) <= len(whole)
    text = patch if is_patch else whole
    now = timezone.now()
    stage = Stage(
        run_id=run.pk,
        attempt=run.attempt + 1,
        sequence=run.sequence,
        kind=StageKind.EDIT,
        node_name=EDIT_NODE,
        iteration=0,
        status=StageStatus.COMPLETED,
        duration_ms=0.0,
        created_at=now,
    )
    fields = seals.stage_fields(run.pk, stage.attempt, stage_row(stage))
    stage.seal, run.history_chain_head = seals.add(keys.sealing(), _head(run), fields)
    stage.save(force_insert=True)
    last = Checkpoint.objects.filter(run=run.pk, sequence=planned.history.kept).get()
    Checkpoint.objects.create(
        run_id=run.pk,
        attempt=stage.attempt,
        sequence=stage.sequence,
        node_name=last.node_name,
        kind=Checkpoint.Kind.DELTA if is_patch else Checkpoint.Kind.FULL,
        data=text,
        bytes=len(text),
        failure=last.failure,
        created_at=now,
    )


def _insert_override(
    edge: EdgeShape,
    planned: ForkPlan,
    run: Run,
    *,
    by: AbstractBaseUser | None,
    reason: str,
) -> None:
    """Insert the decision of the person, as the first one of the fork."""
    now: dt.datetime = timezone.now()
    row = Decision(
        run_id=run.pk,
        workflow_name=run.workflow_name,
        attempt=run.attempt + 1,
        sequence=planned.history.kept,
        edge_index=edge.index,
        from_node=edge.source,
        to_node=edge.target,
        predicate_name=edge.predicate,
        predicate_result=False,
        taken=True,
        kind=DecisionKind.OVERRIDE,
        decided_by_id=by.pk if by else None,
        comment=reason,
        created_at=now,
    )
    fields = seals.decision_fields(
        run.pk, row.workflow_name, row.attempt, decision_row(row), seals.EMPTY
    )
    row.seal, run.history_chain_head = seals.add(keys.sealing(), _head(run), fields)
    row.save(force_insert=True)


def _head(run: Run) -> bytes:
    return seal_rows.head_of(run.history_chain_head, run.pk)


def _insert_response(
    old: Approval,
    planned: ForkPlan,
    run: Run,
    *,
    by: AbstractBaseUser | None,
    reason: str,
) -> None:
    """Insert the approval with its new response, which the first node of the fork reads."""
    columns = (
        *("sequence", "node_name", "question", "form", "evidence", "initial"),
        *("groups", "not_by", "excluded", "expires_at", "on_expiry", "kind"),
    )
    new = Approval(run_id=run.pk, **{name: getattr(old, name) for name in columns})
    # not open when it is inserted: no message announces it to approvers
    new.status = ApprovalStatus.WITHDRAWN
    new.save(force_insert=True)
    Approval.objects.filter(pk=new.pk).update(
        status=ApprovalStatus.ANSWERED,
        response=planned.response,
        responded_by=by.pk if by else None,
        comment=reason,
        responded_at=timezone.now(),
    )


def link_rerun(
    run: Run, origin_id: UUID, *, by: AbstractBaseUser | None, reason: str = ""
) -> None:
    """Link a run to the run that it reruns from the start, unless that was deleted."""
    with transaction.atomic():
        origin = Run.objects.select_for_update().filter(pk=origin_id).first()
        if origin is None:
            return
        Run.objects.filter(pk=run.pk).update(forked_from=origin)
        action = ACTIONS[ForkKind.RERUN]
        _note_on_origin(run, origin, action, 1, by=by, reason=reason)
        notifications.changed_on_commit(origin.pk)
