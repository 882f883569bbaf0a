"""What a paused run waits for, as rows: an approval, a message or a child run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import Q

from workflows.agents.budgets import BudgetReached
from workflows.audit.row_adapters import stage_row
from workflows.engine import Answer
from workflows.engine.failure_questions import FailurePause
from workflows.execution import (
    approval_escalations,
    child_group_rows,
    event_delivery,
    launching,
    run_tree,
)
from workflows.infra import clock
from workflows.models import (
    Approval,
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalEscalation,
    ApprovalKind,
    ApprovalReminder,
    ApprovalSnooze,
    ApprovalStatus,
    ChildGroup,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Run,
    Stage,
    StageStatus,
    Status,
    WaitKind,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from workflows.audit.step_records import StageRow
    from workflows.engine import Paused


WAITS_FOR_MESSAGES: Final = (WaitKind.EVENT, WaitKind.CALLBACK, WaitKind.FIRST_OF)
ENDED_WAITS: Final = (EventWaitStatus.RECEIVED, EventWaitStatus.EXPIRED)


def pause_write(
    run: Run, paused: Paused, child: Run | ChildGroup | None
) -> Callable[[], None]:
    """Return the write of a pause's rows, for the transaction of its record.

    A run whose cancel was requested in between does not wait: it goes back to the queue,
    and the worker that claims it cancels it. A child is found by the worker that inserted
    it, which checks the queue whenever one of its runs ends or pauses.
    """

    def write() -> None:
        mine = Run.objects.filter(pk=run.pk)
        if mine.exclude(cancel_requested_at=None).wake():
            # else a resume after this time would take it for the end of the pause
            mine.update(wake_at=None)
            return
        if paused.kind == WaitKind.APPROVAL:
            _open_approval(run, paused)
        elif paused.kind in WAITS_FOR_MESSAGES:
            _await_first(run, paused, paused.parts or [paused])
        elif isinstance(child, ChildGroup):
            child_group_rows.insert(run, child, paused)
        elif child is not None:
            launching.insert_child(child)

    return write


KINDS_OF_PARTS: Final = {
    WaitKind.EVENT: EventWaitKind.EVENT,
    WaitKind.APPROVAL: EventWaitKind.APPROVAL,
    WaitKind.WAIT: EventWaitKind.TIMER,
}


def _await_first(run: Run, paused: Paused, parts: Sequence[Paused]) -> None:
    """Open the wait, or all of which the first one counts, each with a row of its own.

    A callback has its row since its address was made; if something has arrived there already,
    the run continues.
    """
    for position, part in enumerate(parts):
        if part.kind == WaitKind.CALLBACK:
            _await_callback(run, part, position)
            continue
        if part.kind == WaitKind.APPROVAL:
            _open_approval(run, part)
        _open_wait(run, part, KINDS_OF_PARTS[WaitKind(part.kind)], position)
    _continue_if_received(run, paused)


def _open_wait(
    run: Run,
    paused: Paused,
    kind: EventWaitKind,
    position: int,
) -> None:
    """Open a wait; one that was withdrawn by a cancel is opened again."""
    EventWait.objects.update_or_create(
        run=run,
        sequence=paused.sequence,
        position=position,
        defaults={
            "workflow_name": run.workflow_name,
            "node_name": paused.node,
            "kind": kind,
            "name": paused.event,
            "key": paused.key,
            "status": EventWaitStatus.OPEN,
            "message": None,
            "expires_at": paused.until,
            "created_at": clock.local_now(),
            "closed_at": None,
        },
    )


def _await_callback(run: Run, paused: Paused, position: int) -> None:
    """Let the run wait for what is posted to its address."""
    waits = EventWait.objects.filter(
        run=run, sequence=paused.sequence, position=position
    )
    waits.open().update(expires_at=paused.until)


def _continue_if_received(run: Run, paused: Paused) -> None:
    """Queue the run again if something was posted before it waited."""
    waits = EventWait.objects.filter(run=run, sequence=paused.sequence)
    received = waits.filter(status=EventWaitStatus.RECEIVED).first()
    if received is not None:
        # its record holds the run's row, which a request locks first: none is between
        event_delivery.withdraw([run.pk], event_delivery.came_first(received.node_name))
        Run.objects.filter(pk=run.pk).wake()


def _open_approval(run: Run, paused: Paused) -> None:
    """Open the approval; one that was withdrawn by a cancel is opened again, without votes."""
    budget_id = paused.budget_id if isinstance(paused, BudgetReached) else None
    approval, is_new = Approval.objects.update_or_create(
        run=run,
        sequence=paused.sequence,
        defaults={
            "node_name": paused.node,
            "kind": _kind_of(paused),
            "budget_id": budget_id,
            "question": paused.question,
            "form": paused.form or {},
            "evidence": dict(paused.show),
            "initial": paused.initial,
            "groups": list(paused.groups),
            "not_by": paused.not_by,
            "excluded": _excluded(run, paused),
            "votes_needed": paused.votes,
            "veto": paused.veto,
            "expires_at": paused.until,
            "on_expiry": paused.on_expiry,
            "status": ApprovalStatus.OPEN,
            "response": None,
            "responded_by": None,
            "responded_at": None,
            "withdrawn_reason": "",
            "comment": "",
        },
    )
    if not is_new:
        approval.votes.all().delete()
        for rows in (
            ApprovalClaim,
            ApprovalAssignment,
            ApprovalSnooze,
            ApprovalReminder,
            ApprovalEscalation,
        ):
            rows.objects.filter(approval=approval).delete()
    if paused.escalation is not None:
        approval_escalations.declare(approval, *paused.escalation)


def _kind_of(paused: Paused) -> ApprovalKind:
    if isinstance(paused, BudgetReached):
        return ApprovalKind.BUDGET
    is_failure = isinstance(paused, FailurePause)
    return ApprovalKind.FAILURE if is_failure else ApprovalKind.NODE


def _excluded(run: Run, paused: Paused) -> list[int]:
    """Return the primary keys of the persons who may not respond.

    The previous approval is the last one that someone responded to.
    """
    if paused.not_by == "launcher":
        return [run.launched_by_id] if run.launched_by_id else []
    if paused.not_by != "previous":
        return []
    earlier = Approval.objects.filter(
        Q(status=ApprovalStatus.ANSWERED)
        | Q(status=ApprovalStatus.EXPIRED, votes__isnull=False),
        run=run,
        sequence__lt=paused.sequence,
        kind=ApprovalKind.NODE,
    )
    previous = earlier.order_by("-sequence").first()
    if previous is None:
        return []
    persons = [
        previous.responded_by_id,
        *previous.votes.values_list("voter_id", flat=True),
    ]
    return sorted({one for one in persons if one is not None})


def waiting_since(run: Run) -> dt.datetime | None:
    """Move the stage that paused to this attempt; return its start.

    A pause is one step even if several workers execute it: its row is carried over.
    """
    stages = Stage.objects.filter(
        run=run, sequence__gt=run.sequence, status=StageStatus.WAITING
    )
    stage = stages.order_by("-attempt").first()
    if stage is None:
        return None
    Stage.objects.filter(pk=stage.pk).update(attempt=run.attempt)
    return stage.created_at


def open_stage(run: Run) -> StageRow | None:
    """Return the row of the stage at which a run paused, None if it has none."""
    stages = Stage.objects.filter(
        run=run, sequence__gt=run.sequence, status=StageStatus.WAITING
    )
    stage = stages.order_by("-attempt").first()
    if stage is None:
        return None
    row = stage_row(stage)
    row.duration_ms = (clock.local_now() - stage.created_at).total_seconds() * 1_000
    return row


@dataclass(frozen=True, slots=True)
class Reply:
    """The result that ended a pause, and the person who responded, if one did."""

    answer: Answer
    person_id: int | None = None


def reply_to(run: Run) -> Reply | None:
    """Return the result that ended the pause of this run, None if it has not ended."""
    return reply_at(run, run.sequence + 1)


def reply_at(run: Run, step: int) -> Reply | None:
    """Return the result that ended the pause of a step, None if it has not ended."""
    approval = Approval.objects.filter(run=run, sequence=step).first()
    waits = [
        *EventWait.objects.filter(run=run, sequence=step).select_related(
            "message__sender"
        )
    ]
    ended = next((wait for wait in waits if wait.status in ENDED_WAITS), None)
    if approval is not None and (ended is None or ended.kind == EventWaitKind.APPROVAL):
        return _response_of(approval)
    if ended is not None:
        return _message_of(ended)
    return None if waits else _other_reply(run, step)


def _other_reply(run: Run, step: int) -> Reply | None:
    """Return the end of a child run or of a timer, None while it lasts."""
    group = child_group_rows.group_at(run, step)
    child = run_tree.child_at(run, step)
    if group is not None or child is not None:
        outcome = _outcome_of_children(group, child)
        return None if outcome is None else Reply(outcome)
    if run.wake_at is not None and run.wake_at <= clock.now():
        return Reply(Answer(at=run.wake_at))
    return None


def _response_of(approval: Approval) -> Reply | None:
    if approval.status not in (ApprovalStatus.ANSWERED, ApprovalStatus.EXPIRED):
        return None
    if approval.kind == ApprovalKind.BUDGET:
        return None  # it raised the budget; the node does not read it
    if approval.votes_needed > 1:
        return _votes_on(approval)
    person = approval.responded_by
    return Reply(
        Answer(
            value=approval.response,
            by=person.get_username() if person else "",
            at=approval.responded_at,
            comment=approval.comment,
            expired=approval.status == ApprovalStatus.EXPIRED,
            choice=approval.node_name,
        ),
        approval.responded_by_id,
    )


def _votes_on(approval: Approval) -> Reply:
    """Return the votes, which no single person is the author of."""
    votes = tuple(
        Answer(
            value=vote.response,
            by=vote.voter_name,
            at=vote.created_at,
            comment=vote.comment,
        )
        for vote in approval.votes.order_by("id")
    )
    names = ", ".join(vote.by for vote in votes)
    who = f"{names} ({len(votes)} of {approval.votes_needed} responses)"
    return Reply(
        Answer(
            at=approval.responded_at,
            comment=who if votes else "",
            expired=approval.status == ApprovalStatus.EXPIRED,
            votes=votes,
            choice=approval.node_name,
        )
    )


def _message_of(wait: EventWait) -> Reply | None:
    """Return the message that a wait received, or its end; None if the message was deleted."""
    if wait.status == EventWaitStatus.EXPIRED:
        is_expired = wait.kind != EventWaitKind.TIMER
        return Reply(
            Answer(at=wait.closed_at, expired=is_expired, choice=wait.node_name)
        )
    message = wait.message
    if message is None:
        return None
    return Reply(
        Answer(
            value=message.value,
            by=message.sender_name,
            at=message.created_at,
            comment=event_delivery.described(message),
            choice=wait.node_name,
        ),
        message.sender_id,
    )


def _outcome_of_children(group: ChildGroup | None, child: Run | None) -> Answer | None:
    """Return the result of what a step launched, None if that has not ended."""
    if group is not None:
        return child_group_rows.outcome_of(group)
    return None if child is None or not child.is_ended else _outcome_of(child)


def _outcome_of(child: Run) -> Answer:
    if child.status == Status.COMPLETED:
        return Answer(value=child.result, at=child.completed_at)
    why = f"run {child.pk} of {child.workflow_name} {child.status}"
    innermost = run_tree.innermost_failed(child)
    if innermost != child:
        # not the message of each level about the next: that grows with every level
        why += (
            f", as run {innermost.pk} of {innermost.workflow_name} {innermost.status}"
        )
    return Answer(at=child.completed_at, error=f"{why}: {innermost.error_message}")
