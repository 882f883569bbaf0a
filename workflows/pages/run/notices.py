"""The notice at the top of a run page: why the run does not progress, and what helps."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from workflows.access.permissions import is_approver
from workflows.models import (
    ApprovalStatus,
    Run,
    Status,
    WaitKind,
    Worker,
    running_stage,
)
from workflows.models.status import CANCEL_AGAIN
from workflows.pages.catalog import installed_workflow
from workflows.pages.redaction import is_redacted, redact
from workflows.pages.render.text import readable_name, span
from workflows.pages.run.child_runs import progress_text
from workflows.pages.run.event_notices import (
    WAITS_FOR_MESSAGES,
    event_notice,
    first_notice,
)
from workflows.pages.run.hold_notices import blocking_notice, leftover_code_notice
from workflows.pages.run.notice import Notice
from workflows.pages.run.recovery_texts import recovery_of, text_after_recovery
from workflows.pages.run.undo_notices import closing_text, closing_title
from workflows.services import pauses
from workflows.services.approvals import RULES, progress
from workflows.services.limit_states import limit_state
from workflows.system import system

__all__ = ["Notice", "notice", "recheck_after", "with_reason"]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.access.permissions import Permissions
    from workflows.models import Approval, Retry, WorkflowPause
    from workflows.services.limit_states import LimitState

PENDING_RECHECK_SECONDS = 3.0  # interval at which the queue position is read again
SUBWORKFLOW_WAIT = "Waiting for a sub-workflow."
RECHECK_DELAY_SECONDS = 0.5  # after the end of a lease or of a retry backoff
SLOW_FACTOR, SLOW_SECONDS = 2.0, 5.0  # a step is slow above both limits over the median


def notice(
    run: Run,
    approval: Approval | None,
    usual: Mapping[str, float] | None = None,
    *,
    permissions: Permissions,
    refusal: str = "",
) -> Notice | None:
    """Return the notice for a viewer with these permissions, None if there is none.

    `usual` has the median milliseconds of each step, by node; `refusal` is why the viewer
    in person cannot respond to the approval.
    """
    if run.status == Status.WAITING:
        is_for_message = run.waiting_for in WAITS_FOR_MESSAGES
        return (
            event_notice(run, permissions)
            if is_for_message
            else _waiting(run, approval, permissions, refusal)
        )
    if run.status == Status.PENDING:
        found = _not_started(run, permissions) or _pending(run, permissions)
        return replace(found, title=f"{closing_title(run)} {found.title}".strip())
    if run.status == Status.RUNNING:
        return _running(run, usual or {})
    ended = {Status.FAILED: _failed, Status.CANCELLED: _cancelled}
    build = ended.get(Status(run.status))
    return build(run) if build else None


def recheck_after(run: Run, shown: Notice | None) -> float | None:
    """Return the seconds after which the notice of a run can change without a message."""
    if shown is not None and shown.again is not None:
        return shown.again
    if run.status == Status.PENDING:
        return PENDING_RECHECK_SECONDS
    if run.status == Status.RUNNING and run.lease_expires_at:
        left = (run.lease_expires_at - timezone.now()).total_seconds()
        return max(left, 0.0) + RECHECK_DELAY_SECONDS
    return None


# Pending ---------------------------------------------------------------------------------


def _not_started(run: Run, permissions: Permissions) -> Notice | None:
    """Return why no worker may start a pending run yet, None if any may."""
    if paused := pauses.pause_of(run):
        return _paused(paused, permissions)
    workflow = installed_workflow(run.workflow_name)
    found = limit_state(run, workflow.limits if workflow else None)
    return None if found is None else _limited(run, found, permissions)


def _limited(run: Run, state: LimitState, permissions: Permissions) -> Notice:
    if not state.text:
        return Notice(
            "quiet",
            "Waiting before its start: a later launch would replace the run.",
            until_lead="Starts after",
            until=state.until,
        )
    may_read = run.workflow_name in permissions.read
    key = f" for “{run.limit_key}”" if run.limit_key and may_read else ""
    return Notice(
        "quiet",
        f"Waiting for a limit of the workflow: {state.text}{key}.",
        "In use by" if state.holders else "",
        until_lead="A start is possible from",
        until=state.until,
        runs=tuple(state.holders),
    )


def _pending(run: Run, permissions: Permissions) -> Notice:
    fresh = timezone.now() - dt.timedelta(seconds=settings.LEASE_SECONDS)
    alive = Worker.objects.filter(stopped_at=None, heartbeat_at__gte=fresh)
    workers = list(alive.values_list("running", "capacity"))
    recovery = recovery_of(run)
    lead = f"{recovery} " if recovery else ""
    if not workers:
        return Notice(
            "warn",
            f"{lead}No worker is running.",
            "The run starts as soon as a worker is available. `make serve` includes a"
            " worker; to start another one:",
            command="make worker",
        )
    running, capacity = (sum(counts) for counts in zip(*workers, strict=True))
    if all(running >= capacity for running, capacity in workers):
        title = f"{lead}All workers are busy."
        return _all_busy(run, title, f"{running} of {capacity} slots", permissions)
    if recovery:
        return Notice("warn", recovery, text_after_recovery(run))
    return Notice("quiet", "Queued.", "A worker will start the run shortly.")


def _paused(pause: WorkflowPause, permissions: Permissions) -> Notice:
    may_read = pause.workflow_name in permissions.read
    return Notice(
        "warn",
        f"The workflow is paused{with_reason(pause.reason if may_read else '')}.",
        "The run starts after the workflow is unpaused.",
        reverse("workflow", args=[pause.workflow_name]),
        "Open the workflow",
        lead=f"Paused by {pause.paused_by_name}",
        at=pause.paused_at,
    )


def _all_busy(run: Run, title: str, slots: str, permissions: Permissions) -> Notice:
    if not permissions.view.are_all:  # the number of other runs is not for every viewer
        return Notice("quiet", title, "The run starts when a slot is free.")
    ahead = system.runs_before(run)
    position = (
        f"{ahead} run{'' if ahead == 1 else 's'} ahead" if ahead else "next in line"
    )
    return Notice(
        "quiet",
        title,
        f"{slots} in use, {position}. To start another worker:",
        command="make worker",
    )


# Running ---------------------------------------------------------------------------------


def _running(run: Run, usual: Mapping[str, float]) -> Notice | None:
    now = timezone.now()
    if run.cancel_requested_at and run.closing is None:
        return _cancelling(run)
    if run.lease_expires_at and run.lease_expires_at < now:
        return _unresponsive(run, now - run.lease_expires_at)
    if held := _held_up(run):
        return held
    # of the step in progress, or of one of its branches
    retries = run.retries.filter(attempt=run.attempt, sequence__gt=run.sequence)
    retry = retries.order_by("created_at").last()
    if retry is not None and is_redacted(run):
        redact(retry)
    return (
        _retrying(retry, now)
        or _closing(run)
        or _slow(run, usual, now)
        or _separate(run)
    )


def _closing(run: Run) -> Notice | None:
    if run.closing is None:
        return None
    return Notice("busy", closing_title(run), closing_text(run))


def _separate(run: Run) -> Notice | None:
    if not run.suspicion:
        return None
    return Notice(
        "quiet",
        "Running in a separate process because its last worker stopped unexpectedly.",
        f"Worker {run.worker} supervises it. If this run ends its process, no other run"
        " is affected.",
    )


def _cancelling(run: Run) -> Notice:
    reason = f"Reason: “{run.cancel_reason}”. " if run.cancel_reason else ""
    held = blocking_notice(run)
    progress = (
        f"{held.title} {held.text}"
        if held
        else "The current step is interrupted at its next wait or finishes first."
    )
    return Notice(
        "warn",
        "Cancelling…",
        f"{reason}{progress}",
        lead=f"Requested{_cancelled_by(run)}",
        at=run.cancel_requested_at,
        again=CANCEL_AGAIN.total_seconds(),
    )


def _held_up(run: Run) -> Notice | None:
    held = blocking_notice(run)
    if held is None:
        return None
    return Notice(
        "warn",
        held.title,
        held.text,
        lead="Since",
        at=held.since,
        again=PENDING_RECHECK_SECONDS,
    )


def _unresponsive(run: Run, since: dt.timedelta) -> Notice:
    length = span(since.total_seconds() + settings.LEASE_SECONDS)
    return Notice(
        "warn",
        f"Worker {run.worker} has not responded for {length}.",
        "Another worker will resume the run from its last step. If none does, start one:",
        command="make worker",
        again=PENDING_RECHECK_SECONDS,
    )


def _retrying(retry: Retry | None, now: dt.datetime) -> Notice | None:
    if retry is None:
        return None
    following = retry.created_at + dt.timedelta(seconds=retry.wait_seconds)
    if following <= now:
        return None
    return Notice(
        "warn",
        f"Try {retry.number} failed: {retry.error_message}",
        lead="Retrying",
        at=following,
        again=(following - now).total_seconds() + RECHECK_DELAY_SECONDS,
    )


def _slow(run: Run, usual: Mapping[str, float], now: dt.datetime) -> Notice | None:
    stage = running_stage(run)
    if stage is None or stage.node_name not in usual:
        return None
    expected = usual[stage.node_name] / 1000
    limit = max(expected * SLOW_FACTOR, expected + SLOW_SECONDS)
    elapsed = (now - stage.created_at).total_seconds()
    if elapsed < limit:
        return None
    return Notice(
        "quiet",
        f"{readable_name(stage.node_name)} is taking longer than usual.",
        f"It usually takes {span(expected)}. Worker {run.worker} is responding.",
        lead="Started",
        at=stage.created_at,
    )


# Waiting ---------------------------------------------------------------------------------


def _waiting(
    run: Run, approval: Approval | None, permissions: Permissions, refusal: str = ""
) -> Notice:
    if run.waiting_for == WaitKind.APPROVAL and approval:
        return _waiting_for_approval(run, approval, permissions, refusal)
    if run.waiting_for == WaitKind.FIRST_OF:
        is_open = approval is not None and approval.status == ApprovalStatus.OPEN
        found = (
            _waiting_for_approval(run, approval, permissions, refusal)
            if approval is not None and is_open
            else None
        )
        return first_notice(run, permissions, found)
    return _waiting_for_runs(run, permissions) or _waiting_for_time(run)


def _waiting_for_time(run: Run) -> Notice:
    node = readable_name(run.waiting_node)
    if run.wake_at:
        return Notice(
            "quiet",
            f"{node} is waiting for a timer." if node else "Waiting for a timer.",
            lead="Resumes",
            at=run.wake_at,
            until_lead="Timer ends",
            until=run.wake_at,
        )
    return Notice("quiet", f"Waiting at {node}.")


def _waiting_for_runs(run: Run, permissions: Permissions) -> Notice | None:
    if text := progress_text(run, permissions.view):
        title = "Waiting for sub-workflows."
        return Notice("quiet", title, text, "#run-children", "Show")
    child = _visible_child(run, permissions)
    return _waiting_for_child(child, permissions) if child else None


def _waiting_for_approval(
    run: Run, approval: Approval, permissions: Permissions, refusal: str
) -> Notice:
    can_respond = is_approver(permissions, approval) and not refusal
    if refusal:
        approvers = refusal
    elif can_respond and not approval.groups and approval.not_by:
        approvers = RULES[approval.not_by]
    elif approval.groups:
        approvers = f"Members of {' or '.join(approval.groups)} can respond."
    else:
        approvers = "Anyone can respond." if can_respond else "You are not an approver."
    return Notice(
        "quiet" if refusal else "warn",
        f"Waiting for approval{f': {count}' if (count := progress(approval)) else ''}.",
        approvers,
        "#run-approval" if can_respond else "",
        "Respond" if can_respond else "",
        lead="Requested",
        at=approval.created_at,
        until_lead="Due" if run.wake_at else "",
        until=run.wake_at,
    )


def _visible_child(run: Run, permissions: Permissions) -> Run | None:
    """Return the run that this one waits for, None if the viewer can't see it."""
    if run.status != Status.WAITING or run.waiting_for != WaitKind.SUBWORKFLOW:
        return None
    child = run.children.order_by("-id").first()
    return child if child and child.workflow_name in permissions.view else None


def _waiting_for_child(child: Run, permissions: Permissions) -> Notice:
    """Return the notice of a parent run, with the reason why the child does not progress.

    The reason is that of the innermost visible run, up to the depth limit. A loop, since
    stored runs can be nested deeper than Python recurses.
    """
    innermost, title = child, ""
    for _ in range(settings.MAX_SUBWORKFLOW_DEPTH):
        following = _visible_child(innermost, permissions)
        if following is None:
            break
        innermost, title = following, SUBWORKFLOW_WAIT
    reason = _reason(innermost, permissions)
    title = title or (reason.title if reason else "")
    status = f"Child run: {child.get_status_display().lower()}."
    return Notice(
        reason.tone if reason and reason.tone == "warn" else "quiet",
        SUBWORKFLOW_WAIT,
        f"{status} {title}" if title else status,
        reverse("run", args=[child.pk]),
        f"Open {child}",
        lead="Started",
        at=child.created_at,
        command=reason.command if reason else "",
    )


def _reason(run: Run, permissions: Permissions) -> Notice | None:
    """Return the notice of an innermost run, None below the depth limit."""
    if _visible_child(run, permissions):
        return None
    if run.workflow_name not in permissions.read:
        redact(run)
    approval = run.approvals.order_by("-sequence").first()
    return notice(run, approval, permissions=permissions)


# Ended -----------------------------------------------------------------------------------


def _failed(run: Run) -> Notice:
    node = f" in {readable_name(run.error_node)}" if run.error_node else ""
    still_running = leftover_code_notice(run)
    return Notice(
        "bad",
        f"Failed{node}.",
        f"{run.error_message} {still_running}".rstrip(),
        lead="Ended",
        at=run.completed_at,
    )


def _cancelled(run: Run) -> Notice:
    title = f"Cancelled{_cancelled_by(run)}{with_reason(run.cancel_reason)}."
    text = leftover_code_notice(run)
    return Notice("quiet", title, text, lead="Ended", at=run.completed_at)


def _cancelled_by(run: Run) -> str:
    person = run.cancel_requested_by
    return f" by {person.get_username()}" if person else ""


def with_reason(reason: str) -> str:
    """Return `: “reason”`, "" without a reason."""
    return f": “{reason}”" if reason else ""
