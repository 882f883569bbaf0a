"""Why a run stands where it stands, in a sentence, and what helps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from workflows.models import Run, Stage, StageStatus, Status, WaitKind, Worker
from workflows.models.status import CANCEL_AGAIN
from workflows.pages.redaction import is_redacted, redact
from workflows.pages.render.text import in_words, span
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.access.permissions import Permissions
    from workflows.models import Approval, Retry

PENDING_RECHECK_SECONDS = (
    3.0  # seconds after which a place in the queue is looked up again
)
WAITS_FOR_A_RUN = "Waits for another run."
LATE = 0.5  # seconds after a lease has ended
SLOW, SLOW_SECONDS = 2.0, 5.0  # times the usual, and by so much: worth a word


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to know about a run: how it weighs, what is so, what helps."""

    tone: str  # busy, warn, bad, quiet: a colour and a shape
    title: str
    text: str = ""
    href: str = ""
    link: str = ""
    lead: str = ""  # stands before the moment: "asked", "next try"
    at: dt.datetime | None = None
    command: str = ""  # to be typed into a shell
    again: float | None = None  # seconds after which it may be otherwise by itself
    until_lead: str = ""  # stands before the deadline, after the text: "Until"
    until: dt.datetime | None = None


def notice(
    run: Run,
    approval: Approval | None,
    usual: Mapping[str, float] | None = None,
    *,
    sight: Permissions,
) -> Notice | None:
    """Return what a watcher with these rights should know first; None: all goes well."""
    if run.status == Status.WAITING:
        return _waiting(run, approval, sight)
    if run.status == Status.PENDING:
        return _pending(run, sight)
    if run.status == Status.RUNNING:
        return _running(run, usual or {})
    tell = {
        Status.FAILED: _failed,
        Status.CANCELLED: _cancelled,
    }.get(Status(run.status))
    return tell(run) if tell else None


def recheck_after(run: Run, told: Notice | None) -> float | None:
    """Return after how many seconds a run may stand otherwise without any news of it."""
    if told is not None and told.again is not None:
        return told.again
    if run.status == Status.PENDING:
        return PENDING_RECHECK_SECONDS
    if run.status == Status.RUNNING and run.lease_expires_at:
        left = (run.lease_expires_at - timezone.now()).total_seconds()
        return max(left, 0.0) + LATE
    return None


def _pending(run: Run, sight: Permissions) -> Notice:
    fresh = timezone.now() - dt.timedelta(seconds=settings.LEASE_SECONDS)
    alive = Worker.objects.filter(stopped_at=None, heartbeat_at__gte=fresh)
    workers = list(alive.values_list("running", "capacity"))
    lost = f"Worker {run.worker} was lost. " if run.recoveries else ""
    if not workers:
        return Notice(
            "warn",
            f"{lost}No worker is running.",
            "The run is safe and starts as soon as one is. `make serve` brings its own;"
            " to start one more:",
            command="make worker",
        )
    if all(running >= capacity for running, capacity in workers):
        return _busy(run, lost, sum(running for running, _ in workers), sight)
    if lost:
        return Notice("warn", lost.strip(), "Another worker goes on in a moment.")
    return Notice("quiet", "A worker takes it in a moment.")


def _busy(run: Run, lost: str, running: int, sight: Permissions) -> Notice:
    title = f"{lost}All workers are busy."
    if not sight.see.are_all:  # how many others there are is not for everyone
        return Notice("quiet", title, "It starts when its turn has come.")
    count = system.runs_before(run)
    before = (
        "It is the next."
        if not count
        else f"{count} {'is' if count == 1 else 'are'} before it."
    )
    more = "s" if running > 1 else ""
    return Notice(
        "quiet",
        title,
        f"They run {running} run{more}. {before} To start one more:",
        command="make worker",
    )


def _running(run: Run, usual: Mapping[str, float]) -> Notice | None:
    if run.cancel_requested_at:
        return Notice(
            "warn",
            "Stopping.",
            f"Asked{_by(run)}{_because(run.cancel_reason)}. It stops where it next waits,"
            " or before its next step.",
            lead="Asked",
            at=run.cancel_requested_at,
            again=CANCEL_AGAIN.total_seconds(),
        )
    now = timezone.now()
    if run.lease_expires_at and run.lease_expires_at < now:
        silent = span(
            (now - run.lease_expires_at).total_seconds() + settings.LEASE_SECONDS
        )
        return Notice(
            "warn",
            f"Worker {run.worker} has been silent for {silent}.",
            "Another worker takes the run over from its last step in a moment. If none"
            " does, start one:",
            command="make worker",
            again=PENDING_RECHECK_SECONDS,
        )
    step = run.sequence + 1
    retry = run.retries.filter(attempt=run.attempt, sequence=step).last()
    if retry is not None and is_redacted(run):
        redact(retry)
    return _retrying(retry, now) or _slow(run, usual, now)


def _retrying(retry: Retry | None, now: dt.datetime) -> Notice | None:
    if retry is None:
        return None
    following = retry.created_at + dt.timedelta(seconds=retry.wait_seconds)
    if following <= now:
        return None
    return Notice(
        "warn",
        f"Try {retry.number} failed: {retry.error_message}",
        "Cancel the run if there is no point in another one.",
        lead="The next try begins",
        at=following,
        again=(following - now).total_seconds() + LATE,
    )


def _slow(run: Run, usual: Mapping[str, float], now: dt.datetime) -> Notice | None:
    stages = Stage.objects.filter(run=run, status=StageStatus.STARTED)
    stage = stages.only("node_name", "created_at").last()
    if stage is None or stage.node_name not in usual:
        return None
    wanted = usual[stage.node_name] / 1000
    limit = max(wanted * SLOW, wanted + SLOW_SECONDS)
    spent = (now - stage.created_at).total_seconds()
    if spent < limit:
        return None
    return Notice(
        "quiet",
        f"{in_words(stage.node_name)} takes longer than usual.",
        f"It usually takes {span(wanted)}. Its worker, {run.worker}, is alive.",
        lead="It began",
        at=stage.created_at,
    )


def _waiting(run: Run, approval: Approval | None, sight: Permissions) -> Notice:
    if run.waiting_for == WaitKind.APPROVAL and approval:
        may = run.workflow_name in (sight.approve & sight.read)
        who = "Anyone here may answer. " if may else "It is for others to answer. "
        who = (
            f"Members of {' or '.join(approval.groups)} may answer. "
            if approval.groups
            else who
        )
        return Notice(
            "warn",
            "Waits for a person.",
            who.strip(),
            "#run-approval" if may else "",
            "Answer" if may else "",
            lead="Asked",
            at=approval.created_at,
            until_lead="It can be answered until" if run.wake_at else "",
            until=run.wake_at,
        )
    if child := _child_seen(run, sight):
        return _waits_for(child, sight)
    if run.wake_at:
        return Notice(
            "quiet",
            f"{in_words(run.waiting_node)} waits.",
            lead="Goes on",
            at=run.wake_at,
            until_lead="Until",
            until=run.wake_at,
        )
    return Notice("quiet", f"Waits at {in_words(run.waiting_node)}.")


def _child_seen(run: Run, sight: Permissions) -> Run | None:
    """Return the run that this one waits for, None if that may not be seen."""
    if run.status != Status.WAITING or run.waiting_for != WaitKind.SUBWORKFLOW:
        return None
    child = run.children.order_by("-id").first()
    return child if child and child.workflow_name in sight.see else None


def _waits_for(child: Run, sight: Permissions) -> Notice:
    """Return what a parent waits for, and why that does not move, if it does not.

    Why is asked of the innermost run that may be seen, as far as the limit of depth: by
    a loop, for what is stored may be deeper than Python recurses.
    """
    innermost, title = child, ""
    for _ in range(settings.MAX_SUBWORKFLOW_DEPTH):
        following = _child_seen(innermost, sight)
        if following is None:
            break
        innermost, title = following, WAITS_FOR_A_RUN
    why = _why(innermost, sight)
    title = title or (why.title if why else "")
    stands = f"It is {child.get_status_display().lower()}."
    return Notice(
        why.tone if why and why.tone == "warn" else "quiet",
        WAITS_FOR_A_RUN,
        f"{stands} {title}" if title else stands,
        reverse("run", args=[child.pk]),
        f"Open {child}",
        lead="Begun",
        at=child.created_at,
        command=why.command if why else "",
    )


def _why(run: Run, sight: Permissions) -> Notice | None:
    """Return why a run stands where it stands, None below the limit of depth."""
    if _child_seen(run, sight):
        return None
    if run.workflow_name not in sight.read:
        redact(run)
    return notice(run, run.approvals.order_by("-sequence").first(), sight=sight)


def _failed(run: Run) -> Notice:
    where = f" at {in_words(run.error_node)}" if run.error_node else ""
    return Notice(
        "bad",
        f"Failed{where}.",
        run.error_message,
        lead="Ended",
        at=run.completed_at,
    )


def _cancelled(run: Run) -> Notice:
    title = f"Cancelled{_by(run)}{_because(run.cancel_reason)}."
    return Notice("quiet", title, lead="Ended", at=run.completed_at)


def _by(run: Run) -> str:
    person = run.cancel_requested_by
    return f" by {person.get_username()}" if person else ""


def _because(reason: str) -> str:
    return f": “{reason}”" if reason else ""
